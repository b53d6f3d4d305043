"""What search needs of a model, and what it gives back.

Shapes: B sentences, W beams, V vocabulary. Search sees token ids go in and logits come out; the state is
opaque but for `reorder` and `keep`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from transformer_cli.batch import EOS, UNK

COMPACT_BELOW = 0.75
"""Finished sentences leave the batch when fewer than this share of its rows is still alive."""
WORST = -1e9
"""A log-probability for what the model calls impossible (-inf) or cannot say (NaN)."""


class StepModel(Protocol):
    """A model that says one position at a time."""

    def init_state(self, memory: Any, beam: int) -> Any:
        """The state before the first token, for hypotheses of B sentences x `beam`."""
        ...

    def decode_step(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Last tokens `[B, W]` -> (logits `[B, W, V]`, new state)."""
        ...


@dataclass(frozen=True)
class Hypothesis:
    """A finished translation.

    Attributes:
        tokens: ids without BOS and EOS.
        log_prob: sum of the log-probabilities of the tokens and of EOS, in nats.
        score: log_prob divided by the length penalty; what search ranks by.
    """

    tokens: list[int]
    log_prob: float
    score: float


def length_penalty(length: int, alpha: float) -> float:
    """((5 + length) / 6) ** alpha; length counts EOS (Wu et al. 2016, equation 14)."""
    return float(((5.0 + length) / 6.0) ** alpha)


def allow(logits: Tensor, last: Tensor) -> Tensor:
    """Forbid what no translation holds: PAD, UNK, BOS; and, where `last` `[B]`, all but EOS. In place."""
    ending = logits[..., EOS].clone()
    logits[..., : UNK + 2] = -torch.inf
    if last.any():
        logits[last] = -torch.inf
        logits[..., EOS] = ending
    return logits


def alive_rows(alive: Tensor) -> Tensor | None:
    """Rows to keep `[B']` if enough sentences `[B]` have finished to pay for moving the rest; else None."""
    count = int(alive.sum())
    return alive.nonzero().squeeze(1) if count < COMPACT_BELOW * len(alive) else None
