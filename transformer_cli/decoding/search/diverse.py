"""Diverse beam search (Vijayakumar et al. 2018): groups of beams that avoid each other's tokens.

Shapes: B sentences, W beams, V vocabulary.
"""

from __future__ import annotations

import math
from dataclasses import fields

import torch
from torch import Tensor

from transformer_cli.decoding.search.base import History, Selection
from transformer_cli.decoding.search.beam import TopKSelector
from transformer_cli.decoding.search.hypothesis import LOWEST_SCORE
from transformer_cli.decoding.search.logits import CLOSED_SCORE, IMPOSSIBLE_SCORE


class DiverseGroups:
    """Selector: W beams in G groups, each a separate beam search (section 3, equation 5, Hamming diversity).

    A beam that finishes is closed, and its group continues with fewer beams. Otherwise the group
    would continue its best hypothesis past the end of the sentence with the next best token. The
    result may therefore contain fewer hypotheses than beams.

    The scores of group g are reduced by `strength` for each beam of an earlier group that generates
    the same token at this position. The penalty affects which hypotheses continue and is not part
    of their scores.
    """

    def __init__(self, groups: int, strength: float) -> None:
        self.groups, self.strength = groups, strength
        self.group_selector = TopKSelector()

    def initial_scores(self, width: int) -> list[float]:
        return self.group_selector.initial_scores(width // self.groups) * self.groups

    def __call__(self, scores: Tensor, log_probs: Tensor, history: History) -> Selection:
        if self.groups == 1:
            return self.group_selector(scores, log_probs, history)
        sentences, width, vocab = log_probs.shape
        size = width // self.groups
        rank = torch.arange(size, device=scores.device)
        counts = log_probs.new_zeros(sentences, 1, vocab)  # beams of earlier groups that generate each token
        parts: list[Selection] = []
        for first in range(0, width, size):
            group_scores, group_log_probs = scores[:, first : first + size], log_probs[:, first : first + size]
            part = self.group_selector(group_scores, group_log_probs - self.strength * counts, history)
            penalty = self.strength * counts[:, 0].gather(1, part.choices)
            open_beams = (group_scores > CLOSED_SCORE).sum(dim=1, keepdim=True)  # [B, 1]
            finished = part.finished_scores.masked_fill(rank >= open_beams, -math.inf)
            open_beams = open_beams - (finished > IMPOSSIBLE_SCORE).sum(dim=1, keepdim=True)
            closed = rank >= open_beams  # [B, size]
            counts.scatter_add_(2, part.choices.unsqueeze(1), (~closed).to(counts.dtype).unsqueeze(1))
            parts.append(
                Selection(
                    (part.scores + penalty).masked_fill(closed, 2 * LOWEST_SCORE),
                    part.parents + first,
                    part.choices,
                    finished,  # EOS is not counted: a group may finish at the same position as another
                    part.finished_parents + first,
                )
            )
        return Selection(*(torch.cat([getattr(p, f.name) for p in parts], dim=1) for f in fields(Selection)))
