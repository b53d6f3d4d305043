"""Static-shape search equals stepwise search, and its step never synchronizes with the device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from transformer_cli.batch import collate_sentences
from transformer_cli.decoding.execution import cuda_graphs
from transformer_cli.decoding.execution import static_search as static
from transformer_cli.decoding.execution.cuda_graphs import GraphBucket, GraphPool
from transformer_cli.decoding.execution.static_search import StaticSearch
from transformer_cli.decoding.execution.static_step import StaticStep, initial_buffers
from transformer_cli.decoding.search.base import run_to_end
from transformer_cli.decoding.search.beam import beam_search
from transformer_cli.decoding.search.ensemble import Ensemble
from transformer_cli.decoding.search.greedy import greedy_search
from transformer_cli.decoding.search.hypothesis import Hypothesis, Scorer
from transformer_cli.models.registry import build_model
from transformer_cli.models.seq2seq import Seq2Seq
from transformer_cli.schema import ModelConfig
from transformer_cli.token_ids import EOS
from transformer_cli.tree import tree_copy_, tree_leaves, tree_map

VOCAB, SENTENCES = 48, 30
KINDS = {
    "transformer": {"encoder": "transformer", "decoder": "transformer"},
    "learned positions": {"encoder": "transformer", "decoder": "transformer", "positions": "learned"},
    "rnn": {"encoder": "rnn", "decoder": "rnn"},
    "tcn": {"encoder": "tcn", "decoder": "tcn"},
}
static_search = run_to_end(StaticSearch)


@pytest.fixture(autouse=True)
def small_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes hypotheses move to another bucket often."""
    for name, value in (("MIN_SLOTS", 2), ("MIN_POSITIONS", 4), ("MIN_SOURCE", 2), ("POLL_INTERVAL", 2)):
        monkeypatch.setattr(static, name, value)


def build(kind: str, dtype: torch.dtype = torch.float64) -> Seq2Seq:
    torch.manual_seed(5)
    sizes = {"d_model": 16, "num_heads": 2, "d_ff": 32, "encoder_layers": 1, "decoder_layers": 2, "dropout": 0.0}
    model = build_model(ModelConfig.model_validate({**sizes, **KINDS[kind]}), VOCAB, VOCAB).to(dtype).eval()
    with torch.no_grad():  # the output depends more on the source, which gives hypotheses of all lengths
        model.output.weight.mul_(3.0)
    return model


def random_batch(model: Any, seed: int = 0, count: int = SENTENCES) -> tuple[Any, Tensor, int]:
    """Memory, limits, number of tokens of the longest source."""
    rng = np.random.default_rng(seed)
    ids, layout = collate_sentences([np.append(rng.integers(4, VOCAB, n), EOS) for n in rng.integers(1, 9, count)])
    limits = torch.from_numpy(rng.integers(1, 24, count))
    return model.encode(ids, layout), limits, layout.max_seqlen


def assert_same(actual: list[list[Hypothesis]], expected: list[list[Hypothesis]]) -> None:
    assert len(actual) == len(expected)
    for hypotheses, references in zip(actual, expected, strict=True):
        assert [h.tokens for h in hypotheses] == [h.tokens for h in references]
        for a, b in zip(hypotheses, references, strict=True):
            numbers = ([h.log_prob, h.score, *h.token_log_probs] for h in (a, b))
            np.testing.assert_allclose(*numbers, rtol=1e-6, atol=1e-6)


@torch.inference_mode()
@pytest.mark.parametrize("n_best", [1, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_static_search_equals_beam_search(kind: str, n_best: int) -> None:
    model, graph_pool, lengths = build(kind), GraphPool(use_graphs=False), set()
    for seed in (0, 1, 0):  # the third search reuses buckets that contain old values
        memory, limits, source = random_batch(model, seed)
        options = {"beam": 4, "n_best": n_best, "scorer": Scorer(1.2)}
        expected = beam_search(model, memory, limits, **options)
        assert_same(
            static_search(model, memory, limits, source=source, graph_pool=graph_pool, **options), expected
        )
        lengths |= {len(h.tokens) for hypotheses in expected for h in hypotheses}
    assert len(lengths) > 8  # some finish early, some at their limit
    assert len(graph_pool.buckets) > 4


@torch.inference_mode()
@pytest.mark.parametrize("scored", [True, False])
def test_one_beam_equals_greedy_search(scored: bool) -> None:
    model = build("transformer", torch.float32)
    memory, limits, source = random_batch(model)
    options = {"source": source, "graph_pool": GraphPool(use_graphs=False), "beam": 1, "scored": scored}
    assert_same(
        static_search(model, memory, limits, **options), greedy_search(model, memory, limits, scored=scored)
    )


@torch.inference_mode()
@pytest.mark.parametrize("scored", [True, False])
def test_of_equal_logits_the_first_token_is_chosen(scored: bool) -> None:
    """In bf16 many logits are equal, and sums with large ones would lose the digits that distinguish the others."""
    model = build("transformer", torch.bfloat16)
    for seed in range(4):
        memory, limits, source = random_batch(model, seed)
        options = {"source": source, "graph_pool": GraphPool(use_graphs=False), "beam": 1, "scored": scored}
        results = static_search(model, memory, limits, **options)
        expected = greedy_search(model, memory, limits, scored=scored)
        assert [hypotheses[0].tokens for hypotheses in results] == [h.tokens for [h] in expected]


@torch.inference_mode()
def test_an_ensemble_is_supported() -> None:
    model = Ensemble([build("transformer"), build("rnn"), build("tcn")])
    memory, limits, source = random_batch(model)
    options = {"source": source, "graph_pool": GraphPool(use_graphs=False), "beam": 3}
    assert_same(static_search(model, memory, limits, **options), beam_search(model, memory, limits, beam=3))


@torch.inference_mode()
def test_impossible_logits_give_a_fallback_hypothesis() -> None:
    model = build("transformer", torch.float32)
    model.output.weight.fill_(torch.nan)
    memory, limits, source = random_batch(model, count=4)
    options = {"source": source, "graph_pool": GraphPool(use_graphs=False), "beam": 2}
    for [h], limit in zip(static_search(model, memory, limits, **options), limits.tolist(), strict=True):
        assert len(h.tokens) < limit and np.isfinite(h.score)


class NeverEnds:
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
def test_without_eos_the_fallback_has_the_maximum_length() -> None:
    model = build("transformer")
    memory, limits, source = random_batch(model)
    never_ends = NeverEnds(model)
    expected = beam_search(never_ends, memory, limits, beam=3)
    results = static_search(
        never_ends, memory, limits, source=source, graph_pool=GraphPool(use_graphs=False), beam=3
    )
    for [h], [reference] in zip(results, expected, strict=True):
        assert len(h.tokens) == len(reference.tokens)


@torch.inference_mode()
@pytest.mark.parametrize("kind", KINDS)
def test_a_step_does_not_synchronize(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Meta tensors have no values, so every operation that reads one on the host fails. No shape changes."""
    model = build(kind, torch.bfloat16)
    memory, limits, source = random_batch(model)
    state = model.init_state(memory).reorder(torch.zeros(len(limits), 3, dtype=torch.int64))
    buffers = initial_buffers(state, limits, 3).to_static(8, source)
    on_meta = tree_map(buffers, lambda x: x.to("meta"))
    for name in ("tensor", "as_tensor", "from_numpy"):  # would copy host values to the device
        monkeypatch.setattr(torch, name, lambda *_, **__: pytest.fail("a copy from the host"))
    for scored in (True, False):
        step = StaticStep(model.to("meta"), Scorer(1.0), 1, scored)
        after = step(on_meta)
        expected = [(x.shape, x.dtype) for x in tree_leaves(buffers)]
        assert [(x.shape, x.dtype) for x in tree_leaves(after)] == expected


@torch.inference_mode()
def test_few_unfinished_sentences_move_to_a_smaller_bucket() -> None:
    model = build("transformer")
    memory, limits, source = random_batch(model)
    limits[:] = torch.tensor([3] * 27 + [20] * 3)
    graph_pool = GraphPool(use_graphs=False)
    search = StaticSearch(model, memory, limits, source=source, graph_pool=graph_pool, beam=2, n_best=2)
    num_slots = []
    while search.num_active:
        num_slots.append(len(search.bucket.buffers.done))
        assert search.num_unfinished * 2 == search.num_active
        search.step()
    assert num_slots[0] == 32 and num_slots[-1] <= 4
    assert all(search.results())


@torch.inference_mode()
@pytest.mark.parametrize("bound", ["count", "bytes"])
def test_least_recently_used_buckets_are_evicted(bound: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, graph_pool = build("transformer"), GraphPool(use_graphs=False)
    max_buckets = 2
    if bound == "count":
        monkeypatch.setattr(cuda_graphs, "MAX_BUCKETS", max_buckets)
    else:
        graph_pool.max_bytes, max_buckets = 1, 1
    for seed in (0, 1):
        memory, limits, source = random_batch(model, seed)
        search = StaticSearch(model, memory, limits, source=source, graph_pool=graph_pool, beam=2)
        while search.num_active:
            search.step()
            assert search.bucket in graph_pool.buckets.values() and len(graph_pool.buckets) <= max_buckets
        assert_same(search.results(), beam_search(model, memory, limits, beam=2))


class FakeGraph:
    """A CUDA graph without CUDA: `fake_capture` stores the function to replay."""

    fails = False
    instances: ClassVar[list[FakeGraph]] = []

    def __init__(self) -> None:
        self.replays = 0
        self.instances.append(self)

    def replay(self) -> None:
        self.replays += 1
        self.work()

    work: Any = None


@contextmanager
def fake_capture(graph: FakeGraph, pool: Any) -> Iterator[None]:
    """Operations under capture compute nothing, so the values that they wrote are restored."""
    bucket = running_buckets[-1]
    before = tree_map(bucket.buffers, torch.clone)
    yield
    tree_copy_(bucket.buffers, before)
    if graph.fails:
        raise RuntimeError("operation not permitted\nwhen stream is capturing")
    graph.work = bucket.run_eager


running_buckets: list[GraphBucket[Any]] = []


@torch.inference_mode()
@pytest.mark.parametrize("fails", [False, True])
def test_the_second_step_of_a_bucket_is_captured_or_a_warning_gives_the_reason(
    fails: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    streams: list[str] = []
    for name, value in (
        ("CUDAGraph", FakeGraph),
        ("graph", fake_capture),
        ("graph_pool_handle", lambda: None),
        ("mem_get_info", lambda: (1 << 40, 1 << 40)),
        ("current_stream", lambda: "previous"),
        ("set_stream", streams.append),
    ):
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(FakeGraph, "fails", fails)
    monkeypatch.setattr(FakeGraph, "instances", [])
    run = GraphPool.run
    monkeypatch.setattr(GraphPool, "run", lambda self, bucket: (running_buckets.append(bucket), run(self, bucket)))
    model, graph_pool = build("transformer"), GraphPool()
    for seed in (0, 1, 0):
        memory, limits, source = random_batch(model, seed)
        assert_same(
            static_search(model, memory, limits, source=source, graph_pool=graph_pool, beam=3),
            beam_search(model, memory, limits, beam=3),
        )
    stderr = capsys.readouterr().err
    if fails:
        assert stderr.count("cannot be captured as a CUDA graph") == 1 and "\nwhen" not in stderr
        assert len(FakeGraph.instances) == 1 and not FakeGraph.instances[0].replays and streams == ["previous"]
    else:
        steps = sum(bucket.calls for bucket in graph_pool.buckets.values())
        eager = sum(1 for bucket in graph_pool.buckets.values() if bucket.calls)
        assert sum(graph.replays for graph in FakeGraph.instances) == steps - eager and not stderr
