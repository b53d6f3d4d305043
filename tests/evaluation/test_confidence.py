from __future__ import annotations

import math

import numpy as np
import pytest

from transformer_cli.evaluation.confidence import (
    FEATURES,
    ConfidenceModel,
    auroc,
    calibration_error,
    fit_confidence,
    line_features,
)


def planted(count: int, seed: int) -> tuple[list[list[float]], list[float], list[float]]:
    """Features, the quality that depends on two of them, and that quality with noise."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, len(FEATURES))) * [1, 5, 0.1, 1, 1, 1, 0] - 3
    true = 1 / (1 + np.exp(-(0.8 * (x[:, 0] + 3) - 0.4 * (x[:, 1] + 3) / 5 + 0.3)))
    noisy = np.clip(true + rng.normal(size=count) * 0.05, 0, 1)
    return x.tolist(), true.tolist(), noisy.tolist()


def test_fit_recovers_a_planted_dependence() -> None:
    features, _, quality = planted(4000, 1)
    model = fit_confidence(features, quality)
    assert np.mean(model.predict(features)) == pytest.approx(np.mean(quality), abs=1e-4)
    other, true, _ = planted(500, 2)
    predicted = model.predict(other)
    assert max(abs(p - t) for p, t in zip(predicted, true, strict=True)) < 0.06
    assert calibration_error(predicted, true) < 0.02 and all(0 <= p <= 1 for p in predicted)
    assert auroc(predicted, [t > 0.5 for t in true]) > 0.98


def test_a_constant_quality_is_predicted() -> None:
    features, _, _ = planted(50, 3)
    assert all(p == pytest.approx(0.4, abs=1e-3) for p in fit_confidence(features, [0.4] * 50).predict(features))
    assert all(p > 0.999 for p in fit_confidence(features, [1.0] * 50).predict(features))


def test_features_of_a_line() -> None:
    found = dict(zip(FEATURES, line_features("a b c", "x y x y x", [-0.1, -2.0, -math.inf]), strict=True))
    assert found["mean log-probability of the tokens"] == pytest.approx((-0.1 - 2 - 30) / 3)
    assert found["lowest log-probability of a token"] == -30
    assert found["share of tokens below one half"] == pytest.approx(2 / 3)
    assert found["log of target words per source word"] == pytest.approx(math.log(6 / 4))
    assert found["share of repeated pairs of words"] == pytest.approx(0.5)
    assert all(map(math.isfinite, line_features("", "", [])))


def test_expected_calibration_error() -> None:
    assert calibration_error([0.2, 0.4, 0.6, 0.8], [0.2, 0.4, 0.6, 0.8]) == 0
    assert calibration_error([0.5] * 4, [0.0, 1.0, 0.0, 1.0], bins=1) == 0
    assert calibration_error([0.1, 0.1, 0.9, 0.9], [0.3, 0.3, 0.8, 0.8], bins=2) == pytest.approx(0.15)


def test_auroc_counts_pairs() -> None:
    values, good = [0.1, 0.4, 0.4, 0.8, 0.3], [False, True, False, True, True]
    pairs = [(a > b) + 0.5 * (a == b) for a, g in zip(values, good, strict=True) if g
             for b, h in zip(values, good, strict=True) if not h]  # fmt: skip
    assert auroc(values, good) == pytest.approx(sum(pairs) / len(pairs))
    assert math.isnan(auroc([0.1], [True]))


def test_a_model_of_another_size_is_refused() -> None:
    with pytest.raises(AssertionError):
        ConfidenceModel((0.0, 1.0), (0.0,), (1.0,))
