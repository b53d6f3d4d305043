"""Finished hypotheses: how they are built and scored, and when the search of a sentence may stop.

The formulas work on Python numbers (`BeamSearch`) and on tensors of shape `[B]` (`StaticStep`)
alike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from transformer_cli.token_ids import EOS, TokenIds

if TYPE_CHECKING:
    from torch import Tensor

Number = TypeVar("Number", float, "Tensor")
Count = TypeVar("Count", int, "Tensor")

LOWEST_SCORE = -1e9
"""Finite replacement for log-probabilities of -inf and NaN."""


@dataclass(frozen=True)
class Scorer:
    """The length penalty of GNMT: log-probability / ((5 + length) / 6) ** alpha (Wu et al. 2016, equation 14)."""

    alpha: float = 1.0

    def __call__(self, log_prob: Number, length: Number | int) -> Number:
        """The score of a hypothesis of `length` tokens, EOS included. Tensors may differ in the last digit."""
        return log_prob / length_penalty(length, self.alpha)

    def upper_bound(self, log_prob: Number, limit: Number | int) -> Number:
        """The best score that an active hypothesis can reach with at most `limit` tokens.

        Each token lowers `log_prob`, which is negative, and the largest length divides by the
        largest penalty.
        """
        return self(log_prob, limit)


def length_penalty(length: Number | int, alpha: float) -> Any:
    """((5 + length) / 6) ** alpha; `length` includes EOS (Wu et al. 2016, equation 14)."""
    return ((5.0 + length) / 6.0) ** alpha


@dataclass(frozen=True)
class Hypothesis:
    """A finished translation.

    Attributes:
        tokens: ids without BOS and EOS.
        log_prob: sum of the log-probabilities of the tokens and of EOS, in nats; NaN if not
            computed.
        score: the value by which search ranks hypotheses: `log_prob` with the length penalty.
        token_log_probs: log-probability of each token and of EOS; empty if not computed.
    """

    tokens: list[int]
    log_prob: float
    score: float
    token_log_probs: list[float] = field(default_factory=list)

    @property
    def ids(self) -> TokenIds:
        """The tokens as an array."""
        return np.array(self.tokens, dtype=np.int64)


def build_hypothesis(
    tokens: list[int], token_log_probs: list[float], scorer: Scorer, log_prob: float | None = None
) -> Hypothesis:
    """A hypothesis with its score.

    Args:
        tokens: ids without BOS and EOS. EOS counts in the length.
        token_log_probs: of each token and of EOS; empty if not computed.
        log_prob: their sum as computed by search. Default: the sum of `token_log_probs`, NaN if
            these are empty.
    """
    if log_prob is None:
        log_prob = max(sum(token_log_probs), LOWEST_SCORE) if token_log_probs else math.nan
    return Hypothesis(tokens, log_prob, scorer(log_prob, len(tokens) + 1), token_log_probs)


def remove_special_tokens(tokens: list[int]) -> list[int]:
    """The tokens without PAD, UNK, BOS and EOS."""
    return [token for token in tokens if token > EOS]


def is_search_complete(
    num_unbeatable: Count, num_finished: Count, length: Count, limit: Count, *, n_best: int, beam: int
) -> Any:
    """Whether the search of a sentence may stop: a bool, or a bool tensor for tensors.

    Args:
        num_unbeatable: finished hypotheses whose score is at least `Scorer.upper_bound` of the
            active ones; `n_best` of them are the result.
        num_finished: finished hypotheses; `beam` of them fill the beam.
        length: tokens generated, the current one included. limit: maximum length.
    """
    return (num_unbeatable >= n_best) | (num_finished >= beam) | (length >= limit)
