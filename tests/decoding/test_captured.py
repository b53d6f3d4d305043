"""Search in stages finds what search step by step finds, and a step asks nothing of the device."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from transformer_cli.batch import EOS, lay
from transformer_cli.decoding import captured
from transformer_cli.decoding.beam import beam_search
from transformer_cli.decoding.captured import CapturedSearch, Stages, bucket
from transformer_cli.decoding.ensemble import Ensemble
from transformer_cli.decoding.greedy import greedy_search
from transformer_cli.decoding.search import Hypothesis, Scorer, completed
from transformer_cli.decoding.slots import Step, begin_slots
from transformer_cli.decoding.tree import mapped, tensors
from transformer_cli.models.registry import build_model
from transformer_cli.models.seq2seq import Seq2Seq
from transformer_cli.schema import ModelConfig

VOCAB, SENTENCES = 48, 30
KINDS = {
    "transformer": {"encoder": "transformer", "decoder": "transformer"},
    "learned positions": {"encoder": "transformer", "decoder": "transformer", "positions": "learned"},
    "rnn": {"encoder": "rnn", "decoder": "rnn"},
    "tcn": {"encoder": "tcn", "decoder": "tcn"},
}
captured_search = completed(CapturedSearch)


@pytest.fixture(autouse=True)
def small_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that hypotheses move often."""
    for name, value in (("LEAST_SLOTS", 2), ("LEAST_POSITIONS", 4), ("LEAST_SOURCE", 2), ("LOOK_EVERY", 2)):
        monkeypatch.setattr(captured, name, value)


def model_of(kind: str, dtype: torch.dtype = torch.float64) -> Seq2Seq:
    torch.manual_seed(5)
    sizes = {"d_model": 16, "num_heads": 2, "d_ff": 32, "encoder_layers": 1, "decoder_layers": 2, "dropout": 0.0}
    model = build_model(ModelConfig.model_validate({**sizes, **KINDS[kind]}), VOCAB, VOCAB).to(dtype).eval()
    with torch.no_grad():  # sentences of all lengths: what is said depends on the source, and so does the end
        model.output.weight.mul_(3.0)
    return model


def batch_of(model: Any, seed: int = 0, count: int = SENTENCES) -> tuple[Any, Tensor, int]:
    """Memory, limits, tokens of the longest source."""
    rng = np.random.default_rng(seed)
    ids, layout = lay([np.append(rng.integers(4, VOCAB, n), EOS) for n in rng.integers(1, 9, count)])
    limits = torch.from_numpy(rng.integers(1, 24, count))
    return model.encode(ids, layout), limits, layout.longest


def same(found: list[list[Hypothesis]], expected: list[list[Hypothesis]]) -> None:
    assert len(found) == len(expected)
    for mine, theirs in zip(found, expected, strict=True):
        assert [h.tokens for h in mine] == [h.tokens for h in theirs]
        for a, b in zip(mine, theirs, strict=True):
            numbers = ([h.log_prob, h.score, *h.token_log_probs] for h in (a, b))
            np.testing.assert_allclose(*numbers, rtol=1e-6, atol=1e-6)


@torch.inference_mode()
@pytest.mark.parametrize("wanted", [1, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_it_finds_what_beam_search_finds(kind: str, wanted: int) -> None:
    model, stages, lengths = model_of(kind), Stages(captures=False), set()
    for seed in (0, 1, 0):  # the third finds its buckets full of what the others left
        memory, limits, source = batch_of(model, seed)
        options = {"beam": 4, "wanted": wanted, "scorer": Scorer(1.2)}
        expected = beam_search(model, memory, limits, **options)
        same(captured_search(model, memory, limits, source=source, stages=stages, **options), expected)
        lengths |= {len(h.tokens) for one in expected for h in one}
    assert len(lengths) > 8  # some ended early, some at their limit
    assert len(stages.stages) > 4


@torch.inference_mode()
@pytest.mark.parametrize("scored", [True, False])
def test_one_beam_is_greedy_search(scored: bool) -> None:
    model = model_of("transformer", torch.float32)
    memory, limits, source = batch_of(model)
    options = {"source": source, "stages": Stages(captures=False), "beam": 1, "scored": scored}
    same(captured_search(model, memory, limits, **options), greedy_search(model, memory, limits, scored=scored))


@torch.inference_mode()
def test_an_ensemble_is_a_model() -> None:
    model = Ensemble([model_of("transformer"), model_of("rnn"), model_of("tcn")])
    memory, limits, source = batch_of(model)
    options = {"source": source, "stages": Stages(captures=False), "beam": 3}
    same(captured_search(model, memory, limits, **options), beam_search(model, memory, limits, beam=3))


@torch.inference_mode()
def test_where_everything_is_impossible_there_is_a_translation() -> None:
    model = model_of("transformer", torch.float32)
    model.output.weight.fill_(torch.nan)
    memory, limits, source = batch_of(model, count=4)
    options = {"source": source, "stages": Stages(captures=False), "beam": 2}
    for one, limit in zip(captured_search(model, memory, limits, **options), limits.tolist(), strict=True):
        assert len(one) == 1 and len(one[0].tokens) < limit and np.isfinite(one[0].score)


class EndsUnwillingly:
    """A model for which EOS is impossible."""

    def __init__(self, model: Seq2Seq) -> None:
        self.model = model

    def init_state(self, memory: Any) -> Any:
        return self.model.init_state(memory)

    def decode_step(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        logits, state = self.model.decode_step(tokens, state)
        logits[..., EOS] = -torch.inf
        return logits, state


@torch.inference_mode()
def test_what_cannot_end_is_said_as_far_as_it_goes() -> None:
    model = model_of("transformer")
    memory, limits, source = batch_of(model)
    unwilling = EndsUnwillingly(model)
    expected = beam_search(unwilling, memory, limits, beam=3)
    found = captured_search(unwilling, memory, limits, source=source, stages=Stages(captures=False), beam=3)
    for one, other in zip(found, expected, strict=True):
        assert len(one) == len(other) == 1 and len(one[0].tokens) == len(other[0].tokens)


@torch.inference_mode()
@pytest.mark.parametrize("kind", KINDS)
def test_a_step_asks_nothing_of_the_device(kind: str) -> None:
    """Tensors without values have no answer: whatever looks at one fails here. And no shape changes."""
    model = model_of(kind, torch.bfloat16)
    memory, limits, source = batch_of(model)
    state = model.init_state(memory).reorder(torch.zeros(len(limits), 3, dtype=torch.int64))
    slots = begin_slots(state, limits, 3).widen(8, source)
    there = mapped(slots, lambda x: x.to("meta"))
    for scored in (True, False):
        step = Step(model.to("meta"), Scorer(1.0), 1, scored)
        after = step(there)
        assert [(x.shape, x.dtype) for x in tensors(after)] == [(x.shape, x.dtype) for x in tensors(slots)]


@torch.inference_mode()
def test_few_sentences_move_to_a_smaller_bucket_and_old_buckets_are_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = model_of("transformer")
    memory, limits, source = batch_of(model)
    limits[:] = torch.tensor([3] * 27 + [20] * 3)
    stages = Stages(captures=False)
    search = CapturedSearch(model, memory, limits, source=source, stages=stages, beam=2, wanted=2)
    slots = []
    while search.going:
        slots.append(len(search.stage.slots.done))
        assert search.left * 2 == search.going
        search.step()
    assert slots[0] == 32 and slots[-1] <= 4
    assert all(found for found in search.results())
    monkeypatch.setattr(captured, "MOST_STAGES", 2)
    captured_search(model, memory, limits, source=source + 9, stages=stages, beam=2)
    assert len(stages.stages) <= len(slots) + 2


def test_buckets_double() -> None:
    assert [bucket(n, 16) for n in (1, 16, 17, 33, 64)] == [16, 16, 32, 64, 64]
