"""Greedy and beam search on models that are small enough to enumerate, and on degenerate models."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from toy_model import VOCAB, ToyModel

from transformer_cli.decoding.search.beam import beam_search
from transformer_cli.decoding.search.greedy import greedy_search
from transformer_cli.decoding.search.hypothesis import Scorer, length_penalty
from transformer_cli.decoding.search.logits import argmax_token, top_k


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0])
def test_a_wide_beam_equals_exhaustive_search(alpha: float) -> None:
    model, limit = ToyModel(4), 5
    sequences = [w for n in range(limit) for w in itertools.product((4, 5, 6), repeat=n)]
    results = beam_search(model, None, torch.full((4,), limit), beam=len(sequences), scorer=Scorer(alpha))
    for sentence, hypotheses in enumerate(results):
        scores = {w: model.log_prob(sentence, w) / length_penalty(len(w) + 1, alpha) for w in sequences}
        best = max(scores, key=scores.__getitem__)
        assert tuple(hypotheses[0].tokens) == best
        assert math.isclose(hypotheses[0].score, scores[best], abs_tol=1e-4)
        for h in hypotheses:
            assert math.isclose(h.log_prob, model.log_prob(sentence, tuple(h.tokens)), abs_tol=1e-4)


@pytest.mark.parametrize("limits", [[6, 6, 6, 6, 6], [1, 3, 6, 2, 5]])
def test_a_beam_of_one_equals_greedy_search(limits: list[int]) -> None:
    model = ToyModel(5)
    greedy = [h for [h] in greedy_search(model, None, torch.tensor(limits))]
    beam = beam_search(model, None, torch.tensor(limits), beam=1)
    assert [h.tokens for h in greedy] == [h[0].tokens for h in beam]
    for h, limit in zip(greedy, limits, strict=True):
        assert len(h.tokens) + 1 <= limit


@pytest.mark.parametrize("beam", [1, 2, 4])
def test_other_sentences_of_the_batch_do_not_change_a_search(beam: int) -> None:
    """Sentences finish at different positions, so the batch is compacted."""
    expected = beam_search(ToyModel(12), None, torch.full((12,), 8), beam=beam)
    for sentence in range(12):
        single = ToyModel(1)
        single.key = lambda h, s, k=single.key, n=sentence: k(h, s + n)  # type: ignore[method-assign, misc]
        (hypotheses,) = beam_search(single, None, torch.tensor([8]), beam=beam)
        assert [h.tokens for h in hypotheses] == [h.tokens for h in expected[sentence]]


NEVER_ENDS = [0.0, 0.0, 0.0, -math.inf, 1.0, 2.0, 3.0]
ONLY_ENDS = [-math.inf, -math.inf, -math.inf, 0.0, -math.inf, -math.inf, -math.inf]
UNIFORM = [0.0] * VOCAB
IMPOSSIBLE = [-math.inf] * VOCAB
BROKEN = [math.nan] * VOCAB


@pytest.mark.parametrize("logits", [NEVER_ENDS, ONLY_ENDS, UNIFORM, IMPOSSIBLE, BROKEN])
@pytest.mark.parametrize("beam", [1, 3, 9])
def test_degenerate_models_give_finite_scores(logits: list[float], beam: int) -> None:
    limits = torch.tensor([4, 7, 1])
    for [h], limit in zip(greedy_search(ToyModel(3, logits), None, limits), [4, 7, 1], strict=True):
        assert math.isfinite(h.score) and len(h.tokens) < limit
    for hypotheses, limit in zip(
        beam_search(ToyModel(3, logits), None, limits, beam=beam), [4, 7, 1], strict=True
    ):
        assert hypotheses
        for h in hypotheses:
            assert math.isfinite(h.score) and len(h.tokens) < limit
            assert not set(h.tokens) & {0, 1, 2, 3}


@pytest.mark.parametrize("columns", [7, 64, 640, 8000, 4001])
@pytest.mark.parametrize(("width", "k"), [(1, 1), (1, 4), (3, 6), (5, 10)])
def test_two_stage_top_k_is_exact(columns: int, width: int, k: int) -> None:
    scores, log_probs = torch.randn(6, width), torch.randn(6, width, columns)
    top, index = top_k(scores, log_probs, k)
    sums = (log_probs + scores[..., None]).flatten(1)
    expected = sums.topk(min(k, width * columns)).values
    assert torch.equal(top, expected)
    assert torch.equal(sums.gather(1, index), expected)


def test_token_log_probs_are_those_of_the_model() -> None:
    model = ToyModel(6)
    limits = torch.full((6,), 6)
    hypotheses = [(i, h) for i, results in enumerate(beam_search(model, None, limits, beam=3)) for h in results]
    hypotheses += [(i, h) for i, [h] in enumerate(greedy_search(model, None, limits))]
    for sentence, h in hypotheses:
        assert len(h.token_log_probs) == len(h.tokens) + 1
        for actual, expected in zip(h.token_log_probs, model.log_probs(sentence, tuple(h.tokens)), strict=True):
            assert math.isclose(actual, expected, abs_tol=1e-4)


def test_unscored_greedy_search_gives_the_same_tokens() -> None:
    limits = torch.full((6,), 8)
    unscored = greedy_search(ToyModel(6), None, limits, scored=False)
    assert [h.tokens for [h] in unscored] == [h.tokens for [h] in greedy_search(ToyModel(6), None, limits)]
    assert all(math.isnan(h.log_prob) and not h.token_log_probs for [h] in unscored)


@pytest.mark.parametrize("n_best", [1, 3, 6])
def test_n_best_are_sorted_distinct_and_complete(n_best: int) -> None:
    for hypotheses in beam_search(ToyModel(5), None, torch.full((5,), 8), beam=6, n_best=n_best):
        scores = [h.score for h in hypotheses]
        assert len(hypotheses) >= n_best and scores == sorted(scores, reverse=True)
        assert len({tuple(h.tokens) for h in hypotheses}) == len(hypotheses)


def test_search_in_float64_computes_in_float64() -> None:
    model = ToyModel(4)
    model.table = model.table.double()
    for hypotheses in beam_search(model, None, torch.full((4,), 6), beam=3):
        for h in hypotheses:
            assert abs(sum(h.token_log_probs) - h.log_prob) < 1e-12


@pytest.mark.parametrize("vocab", [7, 96, 1000, 8000])
def test_argmax_token_is_the_first_maximum(vocab: int) -> None:
    values = torch.randn(50, vocab)
    values[10:20] = values[10:20].round()  # ties
    values[20] = -math.inf
    values[21, 5] = math.nan
    best, index = argmax_token(values)
    assert torch.equal(best.nan_to_num(nan=1e9), values.amax(dim=-1).nan_to_num(nan=1e9))
    for row in range(50):
        is_maximum = values[row].isnan() if best[row].isnan() else values[row] == best[row]
        assert int(index[row]) == int(is_maximum.nonzero()[0])
