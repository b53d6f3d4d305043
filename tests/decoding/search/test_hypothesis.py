"""Scores and the stop rule give the same values for Python numbers and for tensors."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from transformer_cli.decoding.search.hypothesis import (
    LOWEST_SCORE,
    Scorer,
    build_hypothesis,
    is_search_complete,
    remove_special_tokens,
)


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.2])
def test_the_upper_bound_is_reached_by_no_longer_hypothesis(alpha: float) -> None:
    scorer, log_prob, limit = Scorer(alpha), -2.0, 9
    bound = scorer.upper_bound(log_prob, limit)
    assert all(scorer(log_prob - gain, n) <= bound for gain in (0.0, 0.1, 3.0) for n in range(1, limit + 1))
    assert math.isclose(
        float(scorer.upper_bound(torch.tensor(log_prob), torch.tensor(limit))), bound, rel_tol=1e-6
    )


def test_the_stop_rule_is_the_same_for_numbers_and_tensors() -> None:
    cases = list(itertools.product(range(4), range(5), range(1, 5), range(1, 5)))
    scalar = [is_search_complete(*case, n_best=2, beam=3) for case in cases]
    assert is_search_complete(*torch.tensor(cases).T, n_best=2, beam=3).tolist() == scalar
    for (unbeatable, finished, length, limit), stops in zip(cases, scalar, strict=True):
        assert stops == (unbeatable >= 2 or finished >= 3 or length >= limit)


def test_a_hypothesis_counts_eos_in_its_length() -> None:
    scorer = Scorer(1.0)
    h = build_hypothesis([4, 5], [-1.0, -2.0, -3.0], scorer)
    assert h.log_prob == -6.0 and h.score == scorer(-6.0, 3)
    assert build_hypothesis([4, 5], [-1.0, -2.0, -3.0], scorer, log_prob=-6.5).log_prob == -6.5
    assert build_hypothesis([4], [2 * LOWEST_SCORE], scorer).log_prob == LOWEST_SCORE
    unscored = build_hypothesis([4, 5], [], scorer)
    assert math.isnan(unscored.log_prob) and math.isnan(unscored.score)


def test_special_tokens_are_removed() -> None:
    assert remove_special_tokens([2, 4, 3, 5, 0, 1]) == [4, 5]
