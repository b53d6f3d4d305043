"""Search on models that are small enough to enumerate, and on models that misbehave."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from transformer_cli.batch import BOS, EOS
from transformer_cli.decoding.beam import beam_search, top_k
from transformer_cli.decoding.greedy import greedy_search
from transformer_cli.decoding.search import length_penalty

VOCAB = 7  # three words: 4, 5, 6


@dataclass
class History:
    """A state that is the tokens themselves: reorder and keep are what they say."""

    tokens: Tensor  # [B, W, t]
    sentences: Tensor  # [B]

    def reorder(self, parents: Tensor) -> History:
        return History(self.tokens.gather(1, parents[..., None].expand_as(self.tokens)), self.sentences)

    def keep(self, rows: Tensor) -> History:
        return History(self.tokens[rows], self.sentences[rows])


class Toy:
    """Logits that depend on the sentence and on every earlier token, by a table of random numbers."""

    def __init__(self, sentences: int, logits: Any = None) -> None:
        self.sentences = sentences
        self.table = torch.randn(997, VOCAB, generator=torch.Generator().manual_seed(3)) * 2
        self.fixed = logits

    def init_state(self, memory: Any, beam: int) -> History:
        empty = torch.empty(self.sentences, beam, 0, dtype=torch.int64)
        return History(empty, torch.arange(self.sentences))

    def decode_step(self, tokens: Tensor, state: History) -> tuple[Tensor, History]:
        history = torch.cat([state.tokens, tokens[..., None]], dim=-1)
        if self.fixed is not None:
            logits = torch.tensor(self.fixed).expand(*tokens.shape, VOCAB).clone()
        else:
            logits = self.table[self.key(history, state.sentences[:, None])].clone()
        return logits, History(history, state.sentences)

    def key(self, history: Tensor, sentence: Tensor) -> Tensor:
        powers = 11 ** torch.arange(history.shape[-1]) % 997
        return ((history * powers).sum(-1) + 31 * sentence) % 997

    def log_prob(self, sentence: int, words: tuple[int, ...]) -> float:
        """Log-probability of the words and EOS, computed one by one."""
        total, said = 0.0, [BOS]
        for word in [*words, EOS]:
            logits = self.table[self.key(torch.tensor(said), torch.tensor(sentence))]
            total += float(logits.log_softmax(-1)[word])
            said.append(word)
        return total


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0])
def test_a_wide_beam_finds_what_exhaustive_search_finds(alpha: float) -> None:
    model, limit = Toy(4), 5
    every = [w for n in range(limit) for w in itertools.product((4, 5, 6), repeat=n)]
    found = beam_search(model, None, torch.full((4,), limit), beam=len(every), alpha=alpha)
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
    greedy = greedy_search(model, None, torch.tensor(limits))
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
    for h, limit in zip(greedy_search(Toy(3, logits), None, limits), [4, 7, 1], strict=True):
        assert math.isfinite(h.score) and len(h.tokens) < limit
    for found, limit in zip(beam_search(Toy(3, logits), None, limits, beam=beam), [4, 7, 1], strict=True):
        assert found
        for h in found:
            assert math.isfinite(h.score) and len(h.tokens) < limit
            assert not set(h.tokens) & {0, 1, 2, 3}


@pytest.mark.parametrize("columns", [7, 64, 640, 8000, 4001])
@pytest.mark.parametrize("k", [1, 4, 10])
def test_two_stage_top_k_is_exact(columns: int, k: int) -> None:
    scores = torch.randn(6, columns)
    top, index = top_k(scores, k)
    expected = scores.topk(min(k, columns)).values
    assert torch.equal(top, expected)
    assert torch.equal(scores.gather(1, index), expected)
