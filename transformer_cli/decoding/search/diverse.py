"""Diverse beam search (Vijayakumar et al. 2018): groups of beams that avoid each other's words.

Shapes: B sentences, W beams, V vocabulary.
"""

from __future__ import annotations

import math
from dataclasses import fields

import torch
from torch import Tensor

from transformer_cli.decoding.search.base import CLOSED_SCORE, LOWEST_SCORE, History, Selection
from transformer_cli.decoding.search.beam import TopKSelector


class DiverseGroups:
    """W beams in G groups; each group is a beam search of its own (section 3, equation 5, Hamming diversity).

    A group has a place for each of its beams; where one ends, its place is closed. A group made to fill it again
    would go on where its best hypothesis ended, past the full stop. So there may be fewer hypotheses than beams.

    Group g loses `strength` for each earlier group's beam that says the same token at this position. The
    penalty decides who goes on and is not part of a hypothesis's score.
    """

    def __init__(self, groups: int, strength: float) -> None:
        self.groups, self.strength = groups, strength
        self.within = TopKSelector()

    def initial_scores(self, width: int) -> list[float]:
        return self.within.initial_scores(width // self.groups) * self.groups

    def __call__(self, scores: Tensor, log_probs: Tensor, history: History) -> Selection:
        if self.groups == 1:
            return self.within(scores, log_probs, history)
        sentences, width, vocab = log_probs.shape
        size = width // self.groups
        rank = torch.arange(size, device=scores.device)
        taken = log_probs.new_zeros(sentences, 1, vocab)  # how many beams of earlier groups say each token
        parts: list[Selection] = []
        for first in range(0, width, size):
            own_scores, own = scores[:, first : first + size], log_probs[:, first : first + size]
            part = self.within(own_scores, own - self.strength * taken, history)
            penalty = self.strength * taken[:, 0].gather(1, part.choices)
            places = (own_scores > CLOSED_SCORE).sum(dim=1, keepdim=True)  # [B, 1]
            ended = part.ended_scores.masked_fill(rank >= places, -math.inf)
            places = places - (ended > LOWEST_SCORE / 2).sum(dim=1, keepdim=True)
            closed = rank >= places  # [B, size]
            taken.scatter_add_(2, part.choices.unsqueeze(1), (~closed).to(taken.dtype).unsqueeze(1))
            parts.append(
                Selection(
                    (part.scores + penalty).masked_fill(closed, 2 * LOWEST_SCORE),
                    part.parents + first,
                    part.choices,
                    ended,  # EOS is never taken: a group may end where another did
                    part.ended_parents + first,
                )
            )
        return Selection(*(torch.cat([getattr(p, f.name) for p in parts], dim=1) for f in fields(Selection)))
