"""Search on models that are small enough to enumerate, and on models that misbehave."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from toys import VOCAB, Toy

from transformer_cli.decoding.search.base import Scorer, argmax_token, length_penalty
from transformer_cli.decoding.search.beam import beam_search, top_k
from transformer_cli.decoding.search.greedy import greedy_search


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0])
def test_a_wide_beam_finds_what_exhaustive_search_finds(alpha: float) -> None:
    model, limit = Toy(4), 5
    every = [w for n in range(limit) for w in itertools.product((4, 5, 6), repeat=n)]
    found = beam_search(model, None, torch.full((4,), limit), beam=len(every), scorer=Scorer(alpha))
    for sentence, hypotheses in enumerate(found):
        score = {w: model.log_prob(sentence, w) / length_penalty(len(w) + 1, alpha) for w in every}
        best = max(score, key=score.__getitem__)
        assert tuple(hypotheses[0].tokens) == best
        assert math.isclose(hypotheses[0].score, score[best], abs_tol=1e-4)
        for h in hypotheses:
            assert math.isclose(h.log_prob, model.log_prob(sentence, tuple(h.tokens)), abs_tol=1e-4)


@pytest.mark.parametrize("limits", [[6, 6, 6, 6, 6], [1, 3, 6, 2, 5]])
def test_beam_of_one_is_greedy(limits: list[int]) -> None:
    model = Toy(5)
    greedy = [h for [h] in greedy_search(model, None, torch.tensor(limits))]
    beam = beam_search(model, None, torch.tensor(limits), beam=1)
    assert [h.tokens for h in greedy] == [h[0].tokens for h in beam]
    for h, limit in zip(greedy, limits, strict=True):
        assert len(h.tokens) + 1 <= limit


@pytest.mark.parametrize("beam", [1, 2, 4])
def test_neighbours_do_not_change_a_search(beam: int) -> None:
    """Sentences end at different times, so this passes through compaction."""
    together = beam_search(Toy(12), None, torch.full((12,), 8), beam=beam)
    for sentence in range(12):
        alone = Toy(1)
        alone.key = lambda h, s, k=alone.key, n=sentence: k(h, s + n)  # type: ignore[method-assign, misc]
        (found,) = beam_search(alone, None, torch.tensor([8]), beam=beam)
        assert [h.tokens for h in found] == [h.tokens for h in together[sentence]]


NEVER_ENDS = [0.0, 0.0, 0.0, -math.inf, 1.0, 2.0, 3.0]
ONLY_ENDS = [-math.inf, -math.inf, -math.inf, 0.0, -math.inf, -math.inf, -math.inf]
UNIFORM = [0.0] * VOCAB
IMPOSSIBLE = [-math.inf] * VOCAB
BROKEN = [math.nan] * VOCAB


@pytest.mark.parametrize("logits", [NEVER_ENDS, ONLY_ENDS, UNIFORM, IMPOSSIBLE, BROKEN])
@pytest.mark.parametrize("beam", [1, 3, 9])
def test_strange_models_end_with_finite_scores(logits: list[float], beam: int) -> None:
    limits = torch.tensor([4, 7, 1])
    for [h], limit in zip(greedy_search(Toy(3, logits), None, limits), [4, 7, 1], strict=True):
        assert math.isfinite(h.score) and len(h.tokens) < limit
    for found, limit in zip(beam_search(Toy(3, logits), None, limits, beam=beam), [4, 7, 1], strict=True):
        assert found
        for h in found:
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


def test_log_probabilities_of_the_tokens_are_the_models_own() -> None:
    model = Toy(6)
    limits = torch.full((6,), 6)
    hypotheses = [(i, h) for i, found in enumerate(beam_search(model, None, limits, beam=3)) for h in found]
    hypotheses += [(i, h) for i, [h] in enumerate(greedy_search(model, None, limits))]
    for sentence, h in hypotheses:
        assert len(h.token_log_probs) == len(h.tokens) + 1
        for said, expected in zip(h.token_log_probs, model.log_probs(sentence, tuple(h.tokens)), strict=True):
            assert math.isclose(said, expected, abs_tol=1e-4)


def test_without_scores_greedy_says_the_same() -> None:
    limits = torch.full((6,), 8)
    bare = greedy_search(Toy(6), None, limits, scored=False)
    assert [h.tokens for [h] in bare] == [h.tokens for [h] in greedy_search(Toy(6), None, limits)]
    assert all(math.isnan(h.log_prob) and not h.token_log_probs for [h] in bare)


@pytest.mark.parametrize("n_best", [1, 3, 6])
def test_the_n_best_are_sorted_distinct_and_enough(n_best: int) -> None:
    for found in beam_search(Toy(5), None, torch.full((5,), 8), beam=6, n_best=n_best):
        scores = [h.score for h in found]
        assert len(found) >= n_best and scores == sorted(scores, reverse=True)
        assert len({tuple(h.tokens) for h in found}) == len(found)


def test_a_search_in_float64_stays_in_float64() -> None:
    model = Toy(4)
    model.table = model.table.double()
    for found in beam_search(model, None, torch.full((4,), 6), beam=3):
        for h in found:
            assert abs(sum(h.token_log_probs) - h.log_prob) < 1e-12


@pytest.mark.parametrize("vocab", [7, 96, 1000, 8000])
def test_the_best_token_is_the_first_of_the_largest(vocab: int) -> None:
    values = torch.randn(50, vocab)
    values[10:20] = values[10:20].round()  # ties
    values[20] = -math.inf
    values[21, 5] = math.nan
    best, place = argmax_token(values)
    assert torch.equal(best.nan_to_num(nan=1e9), values.amax(dim=-1).nan_to_num(nan=1e9))
    for row in range(50):
        alike = values[row].isnan() if best[row].isnan() else values[row] == best[row]
        assert int(place[row]) == int(alike.nonzero()[0])
