"""Samples follow the distribution, stay inside its limits, and depend on the seed alone."""

from __future__ import annotations

import math

import pytest
import torch
from toys import VOCAB, Toy

from transformer_cli.decoding.search.sampling import Sampler, sample_search, uniforms

LOG_PROBS = torch.tensor([-math.inf, -math.inf, -math.inf, 0.1, 0.2, 0.3, 0.4]).clamp_min(-1e30)
LOG_PROBS[3:] = LOG_PROBS[3:].log()


def drawn(sampler: Sampler, count: int = 40_000) -> list[float]:
    """Share of each token."""
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
def test_shares(sampler: Sampler, expected: list[float]) -> None:
    for share, probability in zip(drawn(sampler), expected, strict=True):
        # Four standard deviations; what is impossible never comes.
        assert abs(share - probability) <= 4 * math.sqrt(probability * (1 - probability) / 40_000)


def test_whole_samples_have_the_probability_that_the_model_gives_them() -> None:
    model, count = Toy(1), 20_000
    (samples,) = sample_search(model, None, torch.tensor([5]), uniforms(3, [0], count, 5), sampler=Sampler())
    # Toy may want to say PAD, UNK and BOS, which nobody may: compare with the shares among what is allowed.
    empty = sum(not h.tokens for h in samples) / count
    first = model.table[model.key(torch.tensor([2]), torch.tensor(0))][3:].softmax(-1)
    assert abs(empty - float(first[0])) < 4 * math.sqrt(float(first[0]) / count)
    for h in samples[:50]:
        if len(h.tokens) < 4:  # not ended by the limit
            assert math.isclose(h.log_prob, model.log_prob(0, tuple(h.tokens)), abs_tol=1e-4)


def test_the_seed_decides_and_the_batch_does_not() -> None:
    def texts(seed: int, sentences: list[int]) -> list[list[list[int]]]:
        model = Toy(len(sentences))
        numbers = torch.tensor(sentences)
        key = model.key
        model.key = lambda h, s: key(h, numbers[s])  # type: ignore[method-assign]
        uniform = uniforms(seed, sentences, 4, 8)
        found = sample_search(model, None, torch.full((len(sentences),), 8), uniform, sampler=Sampler())
        return [[h.tokens for h in one] for one in found]

    together = texts(1, [0, 1, 2, 3, 4])
    assert texts(1, [0, 1, 2, 3, 4]) == together
    assert texts(1, [3, 1]) == [together[3], together[1]]
    assert texts(2, [0, 1, 2, 3, 4]) != together
