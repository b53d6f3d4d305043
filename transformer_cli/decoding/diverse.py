"""Diverse beam search (Vijayakumar et al. 2018): groups of beams that avoid each other's words.

Shapes: B sentences, W beams, V vocabulary.
"""

from __future__ import annotations

from dataclasses import fields

import torch
from torch import Tensor

from transformer_cli.decoding.beam import TopBeams
from transformer_cli.decoding.search import History, Selection


class DiverseGroups:
    """W beams in G groups; each group is a beam search of its own (section 3, equation 5, Hamming diversity).

    Group g loses `strength` for each earlier group's beam that says the same token at this position. The
    penalty decides who goes on and is not part of a hypothesis's score.
    """

    def __init__(self, groups: int, strength: float) -> None:
        self.groups, self.strength = groups, strength
        self.within = TopBeams()

    def start(self, width: int) -> list[float]:
        return self.within.start(width // self.groups) * self.groups

    def __call__(self, scores: Tensor, log_probs: Tensor, history: History) -> Selection:
        sentences, width, vocab = log_probs.shape
        size = width // self.groups
        taken = log_probs.new_zeros(sentences, 1, vocab)  # how many beams of earlier groups say each token
        parts: list[Selection] = []
        for first in range(0, width, size):
            own_scores, own = scores[:, first : first + size], log_probs[:, first : first + size]
            part = self.within(own_scores, own - self.strength * taken, history)
            penalty = self.strength * taken[:, 0].gather(1, part.choices)
            taken.scatter_add_(2, part.choices.unsqueeze(1), torch.ones_like(taken[:, :, :size]))
            parts.append(
                Selection(
                    part.scores + penalty,
                    part.parents + first,
                    part.choices,
                    part.ended_scores,  # EOS is never taken: a group may end where another did
                    part.ended_parents + first,
                )
            )
        return Selection(*(torch.cat([getattr(p, f.name) for p in parts], dim=1) for f in fields(Selection)))
