"""Search in stages finds what search step by step finds, and a step asks nothing of the device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from transformer_cli.batch import EOS, collate_sentences
from transformer_cli.decoding.search import static
from transformer_cli.decoding.search.base import Hypothesis, Scorer, run_to_end
from transformer_cli.decoding.search.beam import beam_search
from transformer_cli.decoding.search.ensemble import Ensemble
from transformer_cli.decoding.search.greedy import greedy_search
from transformer_cli.decoding.search.static import GraphPool, StaticSearch, bucket_size
from transformer_cli.decoding.search.static_step import StaticStep, initial_buffers
from transformer_cli.models.registry import build_model
from transformer_cli.models.seq2seq import Seq2Seq
from transformer_cli.schema import ModelConfig
from transformer_cli.tree import tree_copy_, tree_leaves, tree_map

VOCAB, SENTENCES = 48, 30
KINDS = {
    "transformer": {"encoder": "transformer", "decoder": "transformer"},
    "learned positions": {"encoder": "transformer", "decoder": "transformer", "positions": "learned"},
    "rnn": {"encoder": "rnn", "decoder": "rnn"},
    "tcn": {"encoder": "tcn", "decoder": "tcn"},
}
captured_search = run_to_end(StaticSearch)


@pytest.fixture(autouse=True)
def small_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that hypotheses move often."""
    for name, value in (("MIN_SLOTS", 2), ("MIN_POSITIONS", 4), ("MIN_SOURCE", 2), ("POLL_INTERVAL", 2)):
        monkeypatch.setattr(static, name, value)


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
    ids, layout = collate_sentences([np.append(rng.integers(4, VOCAB, n), EOS) for n in rng.integers(1, 9, count)])
    limits = torch.from_numpy(rng.integers(1, 24, count))
    return model.encode(ids, layout), limits, layout.max_seqlen


def same(found: list[list[Hypothesis]], expected: list[list[Hypothesis]]) -> None:
    assert len(found) == len(expected)
    for mine, theirs in zip(found, expected, strict=True):
        assert [h.tokens for h in mine] == [h.tokens for h in theirs]
        for a, b in zip(mine, theirs, strict=True):
            numbers = ([h.log_prob, h.score, *h.token_log_probs] for h in (a, b))
            np.testing.assert_allclose(*numbers, rtol=1e-6, atol=1e-6)


@torch.inference_mode()
@pytest.mark.parametrize("n_best", [1, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_it_finds_what_beam_search_finds(kind: str, n_best: int) -> None:
    model, graph_pool, lengths = model_of(kind), GraphPool(captures=False), set()
    for seed in (0, 1, 0):  # the third finds its buckets full of what the others left
        memory, limits, source = batch_of(model, seed)
        options = {"beam": 4, "n_best": n_best, "scorer": Scorer(1.2)}
        expected = beam_search(model, memory, limits, **options)
        same(captured_search(model, memory, limits, source=source, graph_pool=graph_pool, **options), expected)
        lengths |= {len(h.tokens) for one in expected for h in one}
    assert len(lengths) > 8  # some ended early, some at their limit
    assert len(graph_pool.graph_pool) > 4


@torch.inference_mode()
@pytest.mark.parametrize("scored", [True, False])
def test_one_beam_is_greedy_search(scored: bool) -> None:
    model = model_of("transformer", torch.float32)
    memory, limits, source = batch_of(model)
    options = {"source": source, "graph_pool": GraphPool(captures=False), "beam": 1, "scored": scored}
    same(captured_search(model, memory, limits, **options), greedy_search(model, memory, limits, scored=scored))


@torch.inference_mode()
@pytest.mark.parametrize("scored", [True, False])
def test_of_equal_tokens_the_first_is_said(scored: bool) -> None:
    """In bf16 many logits are equal; and large ones must not swallow the others in their sum."""
    model = model_of("transformer", torch.bfloat16)
    for seed in range(4):
        memory, limits, source = batch_of(model, seed)
        options = {"source": source, "graph_pool": GraphPool(captures=False), "beam": 1, "scored": scored}
        found = captured_search(model, memory, limits, **options)
        expected = greedy_search(model, memory, limits, scored=scored)
        assert [one[0].tokens for one in found] == [one[0].tokens for one in expected]


@torch.inference_mode()
def test_an_ensemble_is_a_model() -> None:
    model = Ensemble([model_of("transformer"), model_of("rnn"), model_of("tcn")])
    memory, limits, source = batch_of(model)
    options = {"source": source, "graph_pool": GraphPool(captures=False), "beam": 3}
    same(captured_search(model, memory, limits, **options), beam_search(model, memory, limits, beam=3))


@torch.inference_mode()
def test_where_everything_is_impossible_there_is_a_translation() -> None:
    model = model_of("transformer", torch.float32)
    model.output.weight.fill_(torch.nan)
    memory, limits, source = batch_of(model, count=4)
    options = {"source": source, "graph_pool": GraphPool(captures=False), "beam": 2}
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
    found = captured_search(unwilling, memory, limits, source=source, graph_pool=GraphPool(captures=False), beam=3)
    for one, other in zip(found, expected, strict=True):
        assert len(one) == len(other) == 1 and len(one[0].tokens) == len(other[0].tokens)


@torch.inference_mode()
@pytest.mark.parametrize("kind", KINDS)
def test_a_step_asks_nothing_of_the_device(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors without values have no answer: whatever looks at one fails here. And no shape changes."""
    model = model_of(kind, torch.bfloat16)
    memory, limits, source = batch_of(model)
    state = model.init_state(memory).reorder(torch.zeros(len(limits), 3, dtype=torch.int64))
    slots = initial_buffers(state, limits, 3).grow(8, source)
    there = tree_map(slots, lambda x: x.to("meta"))
    for name in ("tensor", "as_tensor", "from_numpy"):  # what the host knows would have to be sent
        monkeypatch.setattr(torch, name, lambda *_, **__: pytest.fail("a tensor from the host"))
    for scored in (True, False):
        step = StaticStep(model.to("meta"), Scorer(1.0), 1, scored)
        after = step(there)
        assert [(x.shape, x.dtype) for x in tree_leaves(after)] == [(x.shape, x.dtype) for x in tree_leaves(slots)]


@torch.inference_mode()
def test_few_sentences_move_to_a_smaller_bucket() -> None:
    model = model_of("transformer")
    memory, limits, source = batch_of(model)
    limits[:] = torch.tensor([3] * 27 + [20] * 3)
    graph_pool = GraphPool(captures=False)
    search = StaticSearch(model, memory, limits, source=source, graph_pool=graph_pool, beam=2, n_best=2)
    slots = []
    while search.num_active:
        slots.append(len(search.stage.slots.done))
        assert search.num_unfinished * 2 == search.num_active
        search.step()
    assert slots[0] == 32 and slots[-1] <= 4
    assert all(found for found in search.results())


@torch.inference_mode()
@pytest.mark.parametrize("bound", ["count", "bytes"])
def test_buckets_that_nobody_comes_to_are_forgotten(bound: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, graph_pool = model_of("transformer"), GraphPool(captures=False)
    most = 2
    if bound == "count":
        monkeypatch.setattr(static, "MAX_BUCKETS", most)
    else:
        graph_pool.most, most = 1, 1
    for seed in (0, 1):
        memory, limits, source = batch_of(model, seed)
        search = StaticSearch(model, memory, limits, source=source, graph_pool=graph_pool, beam=2)
        while search.num_active:
            search.step()
            assert search.stage in graph_pool.graph_pool.values() and len(graph_pool.graph_pool) <= most
        same(search.results(), beam_search(model, memory, limits, beam=2))


class PretendedGraph:
    """What `torch.cuda.graph` would capture, without CUDA: it is told what to replay."""

    breaks = False
    made: ClassVar[list[PretendedGraph]] = []

    def __init__(self) -> None:
        self.replays = 0
        self.made.append(self)

    def replay(self) -> None:
        self.replays += 1
        self.work()

    work: Any = None


@contextmanager
def pretended_capture(graph: PretendedGraph, pool: Any) -> Iterator[None]:
    """Operations under capture compute nothing, so what they wrote is put back."""
    stage = pretended_stage[-1]
    before = tree_map(stage.slots, torch.clone)
    yield
    tree_copy_(stage.slots, before)
    if graph.breaks:
        raise RuntimeError("operation not permitted\nwhen stream is capturing")
    graph.work = stage.run


pretended_stage: list[static.GraphBucket] = []


@torch.inference_mode()
@pytest.mark.parametrize("breaks", [False, True])
def test_the_second_step_of_a_bucket_is_captured_or_a_warning_says_why_not(
    breaks: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    streams: list[str] = []
    for name, value in (
        ("CUDAGraph", PretendedGraph),
        ("graph", pretended_capture),
        ("graph_pool_handle", lambda: None),
        ("mem_get_info", lambda: (1 << 40, 1 << 40)),
        ("current_stream", lambda: "mine"),
        ("set_stream", streams.append),
    ):
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(PretendedGraph, "breaks", breaks)
    monkeypatch.setattr(PretendedGraph, "made", [])
    run = GraphPool.run
    monkeypatch.setattr(GraphPool, "run", lambda self, stage: (pretended_stage.append(stage), run(self, stage)))
    model, graph_pool = model_of("transformer"), GraphPool()
    for seed in (0, 1, 0):
        memory, limits, source = batch_of(model, seed)
        same(
            captured_search(model, memory, limits, source=source, graph_pool=graph_pool, beam=3),
            beam_search(model, memory, limits, beam=3),
        )
    said = capsys.readouterr().err
    if breaks:
        assert said.count("cannot be captured as a CUDA graph") == 1 and "\nwhen" not in said
        assert len(PretendedGraph.made) == 1 and not PretendedGraph.made[0].replays and streams == ["mine"]
    else:
        steps = sum(stage.calls for stage in graph_pool.graph_pool.values())
        eager = sum(1 for stage in graph_pool.graph_pool.values() if stage.calls)
        assert sum(graph.replays for graph in PretendedGraph.made) == steps - eager and not said


def test_buckets_double() -> None:
    assert [bucket_size(n, 16) for n in (1, 16, 17, 33, 64)] == [16, 16, 32, 64, 64]
