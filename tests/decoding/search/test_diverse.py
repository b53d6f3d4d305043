"""Diverse groups: one group is beam search, groups without strength are searches side by side, strength parts them."""

from __future__ import annotations

import torch
from toys import Toy

from transformer_cli.decoding.search.base import Hypothesis
from transformer_cli.decoding.search.beam import beam_search
from transformer_cli.decoding.search.diverse import DiverseGroups
from transformer_cli.decoding.search.greedy import greedy_search

LIMITS = torch.full((12,), 8)


def search(groups: int, strength: float, beam: int = 6) -> list[list[Hypothesis]]:
    selector = DiverseGroups(groups, strength)
    return beam_search(Toy(12), None, LIMITS, beam=beam, n_best=beam, selector=selector)


def first_words(found: list[list[Hypothesis]]) -> float:
    """Mean number of different first words."""
    return sum(len({tuple(h.tokens[:1]) for h in one}) for one in found) / len(found)


def test_one_group_is_beam_search() -> None:
    plain = beam_search(Toy(12), None, LIMITS, beam=6, n_best=6)
    assert [[h.tokens for h in one] for one in search(1, 0.5)] == [[h.tokens for h in one] for one in plain]


def test_groups_part() -> None:
    assert first_words(search(3, 20.0)) > first_words(search(3, 0.0))


def test_a_group_ends_where_its_hypothesis_ends() -> None:
    """With a beam each, without strength, all groups say what greedy search says, and nothing beyond it."""
    greedy = [h.tokens for [h] in greedy_search(Toy(12), None, LIMITS)]
    assert [[h.tokens for h in one] for one in search(6, 0.0)] == [[tokens] for tokens in greedy]
    assert all(1 <= len(one) <= 6 for one in search(3, 5.0))


def test_scores_are_the_models_own() -> None:
    model = Toy(12)
    for sentence, one in enumerate(search(3, 5.0)):
        for h in one:
            assert abs(h.log_prob - model.log_prob(sentence, tuple(h.tokens))) < 1e-4
