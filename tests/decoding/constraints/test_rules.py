"""Each rule holds in greedy, beam and sampling search on a random model."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from toy_model import ToyModel

from transformer_cli.decoding.constraints.rules import (
    MinimumLength,
    NoRepeatNgram,
    RepetitionPenalty,
    TargetPrefix,
)
from transformer_cli.decoding.search.base import History, Rule
from transformer_cli.decoding.search.beam import beam_search
from transformer_cli.decoding.search.greedy import greedy_search
from transformer_cli.decoding.search.sampling import Sampler, sample_search, uniforms
from transformer_cli.token_ids import BOS, EOS

LIMIT = 9


def search_all(rule: Rule, sentences: int = 5) -> list[tuple[int, list[int]]]:
    """(sentence, tokens) of all hypotheses of greedy, beam and sampling search under the rule."""
    limits = torch.full((sentences,), LIMIT)
    model = ToyModel(sentences)
    greedy = greedy_search(model, None, limits, rules=[rule])
    beams = beam_search(model, None, limits, beam=4, n_best=4, rules=[rule])
    uniform = uniforms(1, range(sentences), 6, LIMIT)
    samples = sample_search(model, None, limits, uniform, sampler=Sampler(), rules=[rule])
    return [
        (i, h.tokens)
        for results in (greedy, beams, samples)
        for i, hypotheses in enumerate(results)
        for h in hypotheses
    ]


def test_minimum_length() -> None:
    minimum = torch.tensor([0, 3, 5, 8, 2])
    lengths = [(i, len(tokens)) for i, tokens in search_all(MinimumLength(minimum))]
    assert all(length >= minimum[i] for i, length in lengths)
    assert any(length < 3 for i, length in lengths if i == 0)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_no_ngram_twice(n: int) -> None:
    for _, tokens in search_all(NoRepeatNgram(n)):
        grams = [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]
        assert len(set(grams)) == len(grams), tokens


def test_without_the_rule_ngrams_repeat() -> None:
    """Otherwise the test above could not fail."""
    unconstrained = [tokens for _, tokens in search_all(MinimumLength(torch.full((5,), 8)))]
    assert any(len(set(itertools.pairwise(t))) < len(t) - 1 for t in unconstrained)


def test_repetition_penalty_by_hand() -> None:
    log_probs = torch.tensor([[[-9.0, -9.0, -9.0, -3.0, -1.0, -2.0, -4.0]]])
    history = History(torch.tensor([0]), torch.tensor([[[BOS, 4, 6]]]))
    edited = RepetitionPenalty(1.5)(log_probs.clone(), history)
    assert edited.tolist() == [[[-9.0, -9.0, -9.0, -3.0, -1.5, -2.0, -6.0]]]


def test_every_translation_starts_with_its_prefix() -> None:
    prefixes = [np.array(p, dtype=np.int64) for p in ([], [6, 6], [4], [5, 4, 5, 4, 6], [])]
    results = search_all(TargetPrefix(prefixes, torch.device("cpu")))
    assert all(tokens[: len(prefixes[i])] == prefixes[i].tolist() for i, tokens in results)
    unconstrained = search_all(MinimumLength(torch.zeros(5)))
    assert [t for i, t in results if i == 0] == [t for i, t in unconstrained if i == 0]
    assert EOS not in [t for _, tokens in results for t in tokens]
