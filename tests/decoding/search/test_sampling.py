"""Samples follow the distribution, respect temperature, top-k and top-p, and depend only on the seed."""

from __future__ import annotations

import math

import pytest
import torch
from toy_model import VOCAB, ToyModel

from transformer_cli.decoding.search.sampling import Sampler, sample_search, uniforms

LOG_PROBS = torch.tensor([-math.inf, -math.inf, -math.inf, 0.1, 0.2, 0.3, 0.4]).clamp_min(-1e30)
LOG_PROBS[3:] = LOG_PROBS[3:].log()


def frequencies(sampler: Sampler, count: int = 40_000) -> list[float]:
    """Relative frequency of each token among `count` samples."""
    uniform = uniforms(7, range(count // 100), 100, 1)[:, :, 0]
    choices = sampler.draw(LOG_PROBS.expand(count // 100, 100, VOCAB), uniform)
    return (torch.bincount(choices.flatten(), minlength=VOCAB) / count).tolist()


@pytest.mark.parametrize(
    ("sampler", "expected"),
    [
        (Sampler(), [0, 0, 0, 0.1, 0.2, 0.3, 0.4]),
        (Sampler(temperature=0.5), [0, 0, 0, 1 / 30, 4 / 30, 9 / 30, 16 / 30]),
        (Sampler(top_k=2), [0, 0, 0, 0, 0, 3 / 7, 4 / 7]),
        (Sampler(top_p=0.75), [0, 0, 0, 0, 2 / 9, 3 / 9, 4 / 9]),  # .4 + .3 is not enough
        (Sampler(top_p=0.3), [0, 0, 0, 0, 0, 0, 1]),
        (Sampler(temperature=1e-3), [0, 0, 0, 0, 0, 0, 1]),
    ],
)
def test_frequencies(sampler: Sampler, expected: list[float]) -> None:
    for frequency, probability in zip(frequencies(sampler), expected, strict=True):
        # Four standard deviations; impossible tokens never occur.
        assert abs(frequency - probability) <= 4 * math.sqrt(probability * (1 - probability) / 40_000)


def test_whole_samples_have_the_probabilities_of_the_model() -> None:
    model, count = ToyModel(1), 20_000
    (samples,) = sample_search(model, None, torch.tensor([5]), uniforms(3, [0], count, 5), sampler=Sampler())
    # Search excludes PAD, UNK and BOS, which the toy model does not: compare with the remaining tokens.
    empty = sum(not h.tokens for h in samples) / count
    first = model.table[model.key(torch.tensor([2]), torch.tensor(0))][3:].softmax(-1)
    assert abs(empty - float(first[0])) < 4 * math.sqrt(float(first[0]) / count)
    for h in samples[:50]:
        if len(h.tokens) < 4:  # EOS not forced by the limit
            assert math.isclose(h.log_prob, model.log_prob(0, tuple(h.tokens)), abs_tol=1e-4)


def test_samples_depend_on_the_seed_and_not_on_the_batch() -> None:
    def sample_tokens(seed: int, sentences: list[int]) -> list[list[list[int]]]:
        model = ToyModel(len(sentences))
        numbers = torch.tensor(sentences)
        key = model.key
        model.key = lambda h, s: key(h, numbers[s])  # type: ignore[method-assign]
        uniform = uniforms(seed, sentences, 4, 8)
        results = sample_search(model, None, torch.full((len(sentences),), 8), uniform, sampler=Sampler())
        return [[h.tokens for h in hypotheses] for hypotheses in results]

    expected = sample_tokens(1, [0, 1, 2, 3, 4])
    assert sample_tokens(1, [0, 1, 2, 3, 4]) == expected
    assert sample_tokens(1, [3, 1]) == [expected[3], expected[1]]
    assert sample_tokens(2, [0, 1, 2, 3, 4]) != expected
