"""Diverse beam search: one group equals beam search, zero strength gives equal groups, strength diversifies them."""

from __future__ import annotations

import torch
from toy_model import ToyModel

from transformer_cli.decoding.search.beam import beam_search
from transformer_cli.decoding.search.diverse import DiverseGroups
from transformer_cli.decoding.search.greedy import greedy_search
from transformer_cli.decoding.search.hypothesis import Hypothesis

LIMITS = torch.full((12,), 8)


def search(groups: int, strength: float, beam: int = 6) -> list[list[Hypothesis]]:
    selector = DiverseGroups(groups, strength)
    return beam_search(ToyModel(12), None, LIMITS, beam=beam, n_best=beam, selector=selector)


def mean_distinct_first_words(results: list[list[Hypothesis]]) -> float:
    return sum(len({tuple(h.tokens[:1]) for h in hypotheses}) for hypotheses in results) / len(results)


def test_one_group_equals_beam_search() -> None:
    plain = beam_search(ToyModel(12), None, LIMITS, beam=6, n_best=6)
    expected = [[h.tokens for h in hypotheses] for hypotheses in plain]
    assert [[h.tokens for h in hypotheses] for hypotheses in search(1, 0.5)] == expected


def test_strength_increases_diversity() -> None:
    assert mean_distinct_first_words(search(3, 20.0)) > mean_distinct_first_words(search(3, 0.0))


def test_a_group_stops_when_its_hypothesis_finishes() -> None:
    """Groups of one beam with zero strength all give the greedy hypothesis, and no longer ones."""
    greedy = [h.tokens for [h] in greedy_search(ToyModel(12), None, LIMITS)]
    assert [[h.tokens for h in hypotheses] for hypotheses in search(6, 0.0)] == [[tokens] for tokens in greedy]
    assert all(1 <= len(hypotheses) <= 6 for hypotheses in search(3, 5.0))


def test_log_probs_exclude_the_diversity_penalty() -> None:
    model = ToyModel(12)
    for sentence, hypotheses in enumerate(search(3, 5.0)):
        for h in hypotheses:
            assert abs(h.log_prob - model.log_prob(sentence, tuple(h.tokens))) < 1e-4
