"""Each rule keeps its promise, whatever the model would rather say."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from toys import Toy

from transformer_cli.batch import BOS, EOS
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

LIMIT = 9


def every_search(rule: Rule, sentences: int = 5) -> list[tuple[int, list[int]]]:
    """(sentence, tokens) of what greedy, beam and sampling say under the rule."""
    limits = torch.full((sentences,), LIMIT)
    model = Toy(sentences)
    found = list(enumerate([h.tokens] for [h] in greedy_search(model, None, limits, rules=[rule])))
    beams = beam_search(model, None, limits, beam=4, n_best=4, rules=[rule])
    uniform = uniforms(1, range(sentences), 6, LIMIT)
    samples = sample_search(model, None, limits, uniform, sampler=Sampler(), rules=[rule])
    for hypotheses in (beams, samples):
        found += [(i, [h.tokens for h in one]) for i, one in enumerate(hypotheses)]
    return [(i, tokens) for i, many in found for tokens in many]


def test_minimum_length() -> None:
    minimum = torch.tensor([0, 3, 5, 8, 2])
    lengths = [(i, len(tokens)) for i, tokens in every_search(MinimumLength(minimum))]
    assert all(length >= minimum[i] for i, length in lengths)
    assert any(length < 3 for i, length in lengths if i == 0)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_no_ngram_twice(n: int) -> None:
    for _, tokens in every_search(NoRepeatNgram(n)):
        grams = [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]
        assert len(set(grams)) == len(grams), tokens


def test_without_the_rule_ngrams_do_repeat() -> None:
    """Else the test above could not fail."""
    every = [tokens for _, tokens in every_search(MinimumLength(torch.full((5,), 8)))]
    assert any(len(set(itertools.pairwise(t))) < len(t) - 1 for t in every)


def test_repetition_penalty_by_hand() -> None:
    log_probs = torch.tensor([[[-9.0, -9.0, -9.0, -3.0, -1.0, -2.0, -4.0]]])
    history = History(torch.tensor([0]), torch.tensor([[[BOS, 4, 6]]]))
    edited = RepetitionPenalty(1.5)(log_probs.clone(), history)
    assert edited.tolist() == [[[-9.0, -9.0, -9.0, -3.0, -1.5, -2.0, -6.0]]]


def test_every_translation_begins_with_its_prefix() -> None:
    prefixes = [np.array(p, dtype=np.int64) for p in ([], [6, 6], [4], [5, 4, 5, 4, 6], [])]
    found = every_search(TargetPrefix(prefixes, torch.device("cpu")))
    assert all(tokens[: len(prefixes[i])] == prefixes[i].tolist() for i, tokens in found)
    free = every_search(MinimumLength(torch.zeros(5)))
    assert [t for i, t in found if i == 0] == [t for i, t in free if i == 0]
    assert EOS not in [t for _, tokens in found for t in tokens]
