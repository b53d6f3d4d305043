"""What may come next: each rule edits the log-probabilities of the next token.

Shapes: B sentences, W beams, V vocabulary, t tokens so far. No rule remembers anything: what was said stands in
the history, so beams may be reordered and sentences may leave without telling it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from transformer_cli.batch import EOS, PAD, TokenIds
from transformer_cli.decoding.search.base import History

LAST_RESORT = -1e4
"""Log-probability of a token that a user demands and another rule forbids: said, but only where it must be."""


class MinimumLength:
    """No sentence ends before it has said `minimum[sentence]` tokens, EOS not counted."""

    def __init__(self, minimum: Tensor) -> None:
        self.minimum = minimum  # [B]

    def __call__(self, log_probs: Tensor, history: History) -> Tensor:
        too_short = self.minimum[history.rows] > history.position  # [B]
        log_probs[..., EOS].masked_fill_(too_short.unsqueeze(1), -torch.inf)
        return log_probs


class NoRepeatNgram:
    """No n tokens in a row are said twice in a translation (Paulus et al. 2018, section 2.5)."""

    def __init__(self, n: int) -> None:
        assert n > 0
        self.n = n

    def __call__(self, log_probs: Tensor, history: History) -> Tensor:
        generated = history.tokens[:, :, 1:]  # [B, W, t]
        if generated.shape[-1] < self.n:
            return log_probs
        grams = generated.unfold(-1, self.n, 1)  # [B, W, t - n + 1, n]
        beginning = generated[..., generated.shape[-1] - self.n + 1 :].unsqueeze(2)  # [B, W, 1, n - 1]
        seen = (grams[..., :-1] == beginning).all(dim=-1)
        # What does not repeat is pointed at PAD, which never comes anyway.
        return log_probs.scatter_(-1, grams[..., -1].masked_fill(~seen, PAD), -torch.inf)


class RepetitionPenalty:
    """Log-probabilities of tokens that the translation already holds are multiplied by `penalty` > 1.

    The idea of Keskar et al. 2019, section 4.1, on log-probabilities, which are negative, instead of logits.
    """

    def __init__(self, penalty: float) -> None:
        assert penalty >= 1.0
        self.penalty = penalty

    def __call__(self, log_probs: Tensor, history: History) -> Tensor:
        generated = history.tokens[:, :, 1:]
        if not generated.shape[-1]:
            return log_probs
        return log_probs.scatter_(-1, generated, log_probs.gather(-1, generated) * self.penalty)


class TargetPrefix:
    """Each translation begins with given tokens: `prefixes[sentence]`."""

    def __init__(self, prefixes: Sequence[TokenIds], device: torch.device) -> None:
        longest = max(len(p) for p in prefixes)
        table = np.full((len(prefixes), longest), PAD)
        for row, prefix in zip(table, prefixes, strict=True):
            row[: len(prefix)] = prefix
        self.table = torch.from_numpy(table).to(device)  # [B, longest]

    def __call__(self, log_probs: Tensor, history: History) -> Tensor:
        if history.position >= self.table.shape[1]:
            return log_probs
        wanted = self.table[history.rows, history.position]  # [B]
        index = wanted[:, None, None].expand(*log_probs.shape[:2], 1)
        willing = log_probs.gather(-1, index).clamp_min(LAST_RESORT)
        forced = torch.full_like(log_probs, -torch.inf).scatter_(-1, index, willing)
        return torch.where((wanted == PAD)[:, None, None], log_probs, forced)
