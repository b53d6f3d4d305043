"""Confidence of translations: the sentence chrF that translations like this one had on the validation set.

A logistic regression on facts that search gives for free, fitted to sentence chrF / 100 (the fractional logit of
Papke and Wooldridge 1996). Its mean over the validation set equals that of chrF.

Shapes: N lines, F features.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FEATURES = (
    "mean log-probability of the tokens",
    "lowest log-probability of a token",
    "share of tokens below one half",
    "log of the number of tokens",
    "log of the number of words of the source",
    "log of target words per source word",
    "share of repeated pairs of words",
)
RIDGE = 1e-2
"""Penalty on the squared weights of the standardised features."""
STEPS = 50
UNCERTAIN = math.log(0.5)
LOWEST = -30.0
"""Limit of log-probabilities, in nats, so that a forced token does not decide alone."""


def line_features(source: str, translation: str, token_log_probs: Sequence[float]) -> list[float]:
    """The features of a translation, in the order of `FEATURES`."""
    log_probs = [max(p, LOWEST) for p in token_log_probs] or [LOWEST]
    words, source_words = translation.split(), source.split()
    pairs = list(pairwise(words))
    return [
        sum(log_probs) / len(log_probs),
        min(log_probs),
        sum(p < UNCERTAIN for p in log_probs) / len(log_probs),
        math.log(len(log_probs)),
        math.log(len(source_words) + 1),
        math.log((len(words) + 1) / (len(source_words) + 1)),
        1 - len(set(pairs)) / len(pairs) if pairs else 0.0,
    ]


@dataclass(frozen=True)
class ConfidenceModel:
    """A fitted regression. `weights` has the intercept first; `means` and `scales` standardise the features."""

    weights: tuple[float, ...]
    means: tuple[float, ...]
    scales: tuple[float, ...]

    def __post_init__(self) -> None:
        assert len(self.weights) - 1 == len(self.means) == len(self.scales) == len(FEATURES)

    def predict(self, features: Sequence[Sequence[float]]) -> list[float]:
        """The confidence, 0 to 1, of lines with these features."""
        x = _design(np.asarray(features, dtype=np.float64), np.asarray(self.means), np.asarray(self.scales))
        confidence: list[float] = _sigmoid(x @ np.asarray(self.weights)).tolist()
        return confidence


def fit_confidence(features: Sequence[Sequence[float]], quality: Sequence[float]) -> ConfidenceModel:
    """Fit by Newton's method.

    Args:
        features: `[N, F]`. quality: sentence chrF / 100.
    """
    raw, y = np.asarray(features, dtype=np.float64), np.asarray(quality, dtype=np.float64)
    means, scales = raw.mean(axis=0), raw.std(axis=0)
    scales = np.where(scales > 1e-9, scales, 1.0)
    x = _design(raw, means, scales)  # [N, F + 1]
    penalty = np.diag([1e-9, *[RIDGE * len(y)] * raw.shape[1]])
    weights = np.zeros(x.shape[1])
    for _ in range(STEPS):
        p = _sigmoid(x @ weights)
        gradient = x.T @ (p - y) + penalty @ weights
        hessian = (x * (p * (1 - p))[:, None]).T @ x + penalty
        step = np.linalg.solve(hessian + 1e-9 * np.eye(len(weights)), gradient)
        weights -= np.clip(step, -2.0, 2.0)
    return ConfidenceModel(tuple(weights.tolist()), tuple(means.tolist()), tuple(scales.tolist()))


def calibration_error(confidence: Sequence[float], quality: Sequence[float], bins: int = 10) -> float:
    """Expected calibration error: mean distance of confidence and quality over bins with equally many lines."""
    order = np.argsort(np.asarray(confidence), kind="stable")
    c, q = np.asarray(confidence)[order], np.asarray(quality)[order]
    parts = [part for part in np.array_split(np.arange(len(c)), bins) if len(part)]
    return float(sum(len(part) * abs(c[part].mean() - q[part].mean()) for part in parts) / len(c))


def auroc(confidence: Sequence[float], good: Sequence[bool]) -> float:
    """The probability that a good line has a higher confidence than another one; ties count one half."""
    values, labels = np.asarray(confidence), np.asarray(good, dtype=bool)
    positive, negative = int(labels.sum()), int((~labels).sum())
    if not positive or not negative:
        return math.nan
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2  # mean rank, from 1, of each distinct value
    total = float(ranks[inverse][labels].sum())
    return (total - positive * (positive + 1) / 2) / (positive * negative)


def _design(raw: Floats, means: Floats, scales: Floats) -> Floats:
    """Standardised features after a column of ones."""
    return np.hstack([np.ones((len(raw), 1)), (raw.reshape(len(raw), len(means)) - means) / scales])


def _sigmoid(x: Floats) -> Floats:
    result: Floats = 1 / (1 + np.exp(-np.clip(x, -50, 50)))
    return result
