"""Rules on the next token, as edits of its log-probabilities.

Shapes: B sentences, W beams, V vocabulary, t tokens so far. Rules are stateless: they read the
generated tokens from the history, so beams can be reordered and sentences removed without notifying
them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from transformer_cli.decoding.search.base import History
from transformer_cli.token_ids import EOS, PAD, TokenIds

REQUIRED_LOG_PROB_FLOOR = -1e4
"""Log-probability of a token that is required by the user and forbidden by another rule. Above
-inf, so that the token is generated where nothing else is allowed."""


class MinimumLength:
    """Forbids EOS until `minimum[sentence]` tokens are generated, EOS not counted."""

    def __init__(self, minimum: Tensor) -> None:
        self.minimum = minimum  # [B]

    def __call__(self, log_probs: Tensor, history: History) -> Tensor:
        too_short = self.minimum[history.rows] > history.position  # [B]
        log_probs[..., EOS].masked_fill_(too_short.unsqueeze(1), -torch.inf)
        return log_probs


class NoRepeatNgram:
    """Forbids tokens that complete an n-gram already in the translation (Paulus et al. 2018, section 2.5)."""

    def __init__(self, n: int) -> None:
        assert n > 0
        self.n = n

    def __call__(self, log_probs: Tensor, history: History) -> Tensor:
        generated = history.tokens[:, :, 1:]  # [B, W, t]
        if generated.shape[-1] < self.n:
            return log_probs
        ngrams = generated.unfold(-1, self.n, 1)  # [B, W, t - n + 1, n]
        suffix = generated[..., generated.shape[-1] - self.n + 1 :].unsqueeze(2)  # [B, W, 1, n - 1]
        repeats = (ngrams[..., :-1] == suffix).all(dim=-1)
        # The other n-grams forbid PAD, which is impossible in any case.
        return log_probs.scatter_(-1, ngrams[..., -1].masked_fill(~repeats, PAD), -torch.inf)


class RepetitionPenalty:
    """Multiplies the log-probabilities of tokens already in the translation by `penalty` > 1.

    The idea of Keskar et al. 2019, section 4.1, applied to log-probabilities, which are negative,
    instead of logits.
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
    """Makes each translation start with given tokens, `prefixes[sentence]`."""

    def __init__(self, prefixes: Sequence[TokenIds], device: torch.device) -> None:
        table = np.full((len(prefixes), max(len(p) for p in prefixes)), PAD)
        for row, prefix in zip(table, prefixes, strict=True):
            row[: len(prefix)] = prefix
        self.table = torch.from_numpy(table).to(device)  # [B, longest prefix]

    def __call__(self, log_probs: Tensor, history: History) -> Tensor:
        if history.position >= self.table.shape[1]:
            return log_probs
        required = self.table[history.rows, history.position]  # [B]
        index = required[:, None, None].expand(*log_probs.shape[:2], 1)
        required_log_probs = log_probs.gather(-1, index).clamp_min(REQUIRED_LOG_PROB_FLOOR)
        forced = torch.full_like(log_probs, -torch.inf).scatter_(-1, index, required_log_probs)
        return torch.where((required == PAD)[:, None, None], log_probs, forced)
