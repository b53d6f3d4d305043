"""Compiled search returns the hypotheses of stepwise search, and its results do not depend on the batch at all."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from transformer_cli.batch import collate_sentences
from transformer_cli.decoding.execution.compiled.loading import load_search
from transformer_cli.decoding.execution.compiled.searcher import CompiledSearcher
from transformer_cli.decoding.request import TranslationRequest
from transformer_cli.decoding.search.base import Search
from transformer_cli.decoding.search.beam import beam_search
from transformer_cli.decoding.search.greedy import greedy_search
from transformer_cli.decoding.search.hypothesis import Hypothesis, Scorer
from transformer_cli.decoding.translator import Translator
from transformer_cli.locking import file_lock
from transformer_cli.models.inference import _replace_linears
from transformer_cli.models.registry import build_model
from transformer_cli.models.seq2seq import Seq2Seq
from transformer_cli.schema import DecodingConfig, ModelConfig
from transformer_cli.token_ids import EOS, TokenIds

pytest.importorskip("numba")

VOCAB, SENTENCES = 75, 130
VARIANTS: dict[str, dict[str, Any]] = {
    "pre-norm": {},
    "post-norm": {"norm": "post", "positions": "learned", "norm_type": "rms", "activation": "gelu"},
    "SwiGLU": {"positions": "rotary", "activation": "swiglu", "tie_embeddings": "decoder", "norm_type": "rms"},
    "small heads": {"norm": "post", "positions": "rotary", "tie_embeddings": "none", "num_heads": 8},
    "padded heads": {"d_model": 48, "num_heads": 2, "positions": "rotary", "encoder_layers": 1},
}


@pytest.fixture(scope="module")
def compiled(request: pytest.FixtureRequest) -> Any:
    """The module `search`. The first process of the test run compiles, the others read its cache."""
    cache = request.config.cache
    assert cache is not None
    directory = cache.mkdir("compiled")
    with file_lock(directory / "lock", wait=True):
        search = load_search(directory)
        model, config = build()
        packed = search.PackedTransformer(model, config)
        for start in (greedy, beams):
            run(start(search, packed, [np.array([5])], [2]))
    return search


class Letters:
    """A tokenizer with one id per letter; id 4 is `a`."""

    def encode(self, lines: Sequence[str]) -> list[TokenIds]:
        return [np.array([4 + ord(c) - 97 for c in line.strip()], dtype=np.int64) for line in lines]

    def decode(self, sentences: Sequence[TokenIds]) -> list[str]:
        return ["".join(chr(93 + int(i)) for i in ids) for ids in sentences]

    def token_bytes(self) -> list[bytes]:
        return [b""] * 4 + [bytes([97 + i]) for i in range(VOCAB - 4)]


def build(**options: Any) -> tuple[Seq2Seq, ModelConfig]:
    torch.manual_seed(5)
    sizes = {"d_model": 32, "num_heads": 2, "d_ff": 40, "encoder_layers": 2, "decoder_layers": 2, "dropout": 0.0}
    config = ModelConfig.model_validate({**sizes, **options})
    model = build_model(config, VOCAB, VOCAB).eval()
    with torch.no_grad():
        model.output.weight.mul_(3.0)  # the output depends more on the source: hypotheses of all lengths
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.uniform_(0.5, 1.5)
    return model, config


def sentences(count: int = SENTENCES, seed: int = 0) -> tuple[list[TokenIds], list[int]]:
    """Sources, some of them empty, and limits, some of them 1."""
    rng = np.random.default_rng(seed)
    return [rng.integers(4, VOCAB, n) for n in rng.integers(0, 12, count)], rng.integers(1, 24, count).tolist()


def greedy(search: Any, packed: Any, sources: Any, limits: Any, scored: bool = True) -> Search:
    result: Search = search.CompiledGreedySearch(packed, sources, limits, scorer=Scorer(), scored=scored)
    return result


def beams(search: Any, packed: Any, sources: Any, limits: Any, **options: Any) -> Search:
    options = {"beam": 4, "n_best": 1, "scorer": Scorer(), **options}
    result: Search = search.CompiledBeamSearch(packed, sources, limits, **options)
    return result


def run(search: Search) -> list[list[Hypothesis]]:
    while search.num_active:
        search.step()
    return search.results()


def memory_of(model: Seq2Seq, sources: Sequence[TokenIds]) -> Any:
    ids, layout = collate_sentences([np.append(s, EOS) for s in sources])
    return model.encode(ids, layout)


def assert_close(actual: list[list[Hypothesis]], expected: list[list[Hypothesis]]) -> None:
    assert [[h.tokens for h in hypotheses] for hypotheses in actual] == [
        [h.tokens for h in hypotheses] for hypotheses in expected
    ]
    for a, b in zip(chain(*actual), chain(*expected), strict=True):
        numbers = ([h.log_prob, h.score, *h.token_log_probs] for h in (a, b))
        np.testing.assert_allclose(*numbers, rtol=1e-5, atol=1e-4)


@torch.inference_mode()
@pytest.mark.parametrize("scored", [True, False])
@pytest.mark.parametrize("variant", VARIANTS)
def test_greedy_search_is_the_stepwise_one(compiled: Any, variant: str, scored: bool) -> None:
    model, config = build(**VARIANTS[variant])
    sources, limits = sentences()
    actual = run(greedy(compiled, compiled.PackedTransformer(model, config), sources, limits, scored))
    expected = greedy_search(model, memory_of(model, sources), torch.tensor(limits), scored=scored)
    assert_close(actual, expected)
    assert len({len(h.tokens) for [h] in expected}) > 8  # some end early, some at their limit


@torch.inference_mode()
@pytest.mark.parametrize(("beam", "n_best", "alpha"), [(2, 1, 1.0), (5, 1, 0.6), (4, 4, 1.2)])
@pytest.mark.parametrize("variant", VARIANTS)
def test_beam_search_is_the_stepwise_one(
    compiled: Any, variant: str, beam: int, n_best: int, alpha: float
) -> None:
    model, config = build(**VARIANTS[variant])
    sources, limits = sentences()
    options: dict[str, Any] = {"beam": beam, "n_best": n_best, "scorer": Scorer(alpha)}
    actual = run(beams(compiled, compiled.PackedTransformer(model, config), sources, limits, **options))
    expected = beam_search(model, memory_of(model, sources), torch.tensor(limits), **options)
    assert_close(actual, expected)
    assert len({len(h.tokens) for [h, *_] in expected}) > 8


@torch.inference_mode()
@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize("start", [greedy, beams])
def test_the_batch_does_not_change_a_bit(compiled: Any, start: Any, int8: bool) -> None:
    """Tokens and log-probabilities are equal exactly, whichever sentences are searched together."""
    if int8 and not torch.cpu._is_vnni_supported():
        pytest.skip("needs VNNI")
    packed = compiled.PackedTransformer(*build(positions="rotary"), int8=int8)
    sources, limits = sentences()
    expected = run(start(compiled, packed, sources, limits))
    for order in (range(SENTENCES)[::-1], np.random.default_rng(1).permutation(SENTENCES)):
        for size in (1, 7, SENTENCES):
            for first in range(0, SENTENCES, size):
                batch = order[first : first + size]
                actual = run(start(compiled, packed, [sources[i] for i in batch], [limits[i] for i in batch]))
                assert actual == [expected[i] for i in batch]


@torch.inference_mode()
@pytest.mark.parametrize("start", [greedy, beams])
def test_threads_do_not_disturb_each_other(compiled: Any, start: Any) -> None:
    packed = compiled.PackedTransformer(*build())
    sources, limits = sentences()
    expected = run(start(compiled, packed, sources, limits))
    with ThreadPoolExecutor(4) as pool:
        for actual in pool.map(lambda _: run(start(compiled, packed, sources, limits)), range(8)):
            assert actual == expected


@torch.inference_mode()
def test_sentences_longer_than_a_chunk_and_tables_that_grow(compiled: Any) -> None:
    model, config = build(positions="sinusoidal", encoder_layers=1, decoder_layers=1)
    packed = compiled.PackedTransformer(model, config)
    rng = np.random.default_rng(2)
    for length, limit in ((3, 5), (300, 400)):
        sources, limits = [rng.integers(4, VOCAB, length) for _ in range(3)], [limit] * 3
        expected = greedy_search(model, memory_of(model, sources), torch.tensor(limits))
        assert_close(run(greedy(compiled, packed, sources, limits)), expected)


@torch.inference_mode()
def test_a_model_that_never_ends_is_cut_at_the_limit(compiled: Any) -> None:
    model, config = build(tie_embeddings="none")
    model.output.weight[EOS] = -10.0 * model.output.weight[10:60].mean(dim=0)
    packed = compiled.PackedTransformer(model, config)
    sources, limits = sentences(20)
    for [h, *_], limit in zip(run(beams(compiled, packed, sources, limits)), limits, strict=True):
        assert len(h.tokens) < limit and np.isfinite(h.score)


@torch.inference_mode()
@pytest.mark.parametrize("start", [greedy, beams])
def test_impossible_logits_end_with_a_finite_score(compiled: Any, start: Any) -> None:
    model, config = build(tie_embeddings="none")
    model.output.weight.fill_(torch.nan)
    packed = compiled.PackedTransformer(model, config)
    sources, limits = sentences(4)
    for hypotheses, limit in zip(run(start(compiled, packed, sources, limits)), limits, strict=True):
        assert len(hypotheses[0].tokens) < limit and np.isfinite(hypotheses[0].score)


@pytest.mark.parametrize("int8", [False, True])
def test_a_product_of_rows_does_not_depend_on_their_number(compiled: Any, int8: bool) -> None:
    from transformer_cli.decoding.execution.compiled import buffers, products, simd, weights

    if int8 and not torch.cpu._is_vnni_supported():
        pytest.skip("needs VNNI")
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((20, 48), np.float32), rng.standard_normal((150, 40), np.float32)
    x[:, 40:] = 0.0
    buffer = weights.WeightBuffer(int8)
    buffer.add(np.zeros(1, np.float32))
    matrix = buffer.add_matrix(weight)
    packed = compiled.PackedTransformer(*build())
    stack = packed.decoder._replace(**dict(zip(("weights", "quantized"), buffer.arrays(), strict=True)))
    activations = buffers.allocate_activations(stack, 20, 1)
    step = weights.round_up(150, simd.TILE_COLUMNS)

    def product(rows: int) -> Any:
        out = np.ones((rows, step), np.float32)
        flat, to = out.reshape(-1), simd.ZERO
        products.multiply(
            stack, activations, x[:rows].ravel(), 48, matrix, flat, to, step, rows, 40, 150, simd.STORE
        )
        return out[:, :150]

    exact = x[:, :40] @ weight.T
    error = np.linalg.norm(product(20) - exact) / np.linalg.norm(exact)
    assert error < (0.02 if int8 else 1e-6)
    for rows in range(1, 20):
        assert (product(rows) == product(20)[:rows]).all()


class FakeInt8Linear(torch.nn.Module):
    """A linear map whose weights, by output, and inputs, by row, are rounded to 8 bits, computed in float64."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        weight = weight.float()
        scales = weight.abs().amax(dim=1, keepdim=True) / 127.0
        self.weight = (weight / scales).round().double() * scales.double()

    def forward(self, x: Tensor) -> Tensor:
        high, low = x.amax(dim=-1, keepdim=True).clamp_min(0.0), x.amin(dim=-1, keepdim=True).clamp_max(0.0)
        step = ((high - low) / 255.0).clamp_min(1e-30)
        zero = (-low / step).round()
        rounded = ((x / step).round() + zero).clamp(0.0, 255.0) - zero
        return ((rounded.double() * step.double()) @ self.weight.T).to(x.dtype)


@torch.inference_mode()
@pytest.mark.skipif(not torch.cpu._is_vnni_supported(), reason="needs VNNI")
@pytest.mark.parametrize("variant", VARIANTS)
def test_int8_is_the_stepwise_search_of_a_model_that_is_rounded_in_the_same_way(
    compiled: Any, variant: str
) -> None:
    """Almost: a value between two levels may be rounded to either, which changes everything after it."""
    model, config = build(**VARIANTS[variant])
    packed, rounded = compiled.PackedTransformer(model, config, int8=True), _replace_linears(model, FakeInt8Linear)
    sources, limits = sentences()
    memory = memory_of(rounded, sources)
    pairs = [
        (run(greedy(compiled, packed, sources, limits)), greedy_search(rounded, memory, torch.tensor(limits))),
        (
            run(beams(compiled, packed, sources, limits)),
            beam_search(rounded, memory, torch.tensor(limits), beam=4),
        ),
    ]
    for actual, expected in pairs:
        same = [a.tokens == b.tokens for (a, *_), (b, *_) in zip(actual, expected, strict=True)]
        assert sum(same) > 0.9 * len(same)


@pytest.mark.parametrize("beam", [1, 3])
def test_a_translator_uses_it_except_with_constraints(
    compiled: Any, beam: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    model, config = build()
    options = DecodingConfig(beam=beam, threads=2, batch_tokens=40)
    searcher = CompiledSearcher(model, config, beam=beam, n_best=1, scorer=Scorer(), scored=beam > 1, always=True)
    started = []

    def start(*args: Any) -> Any:
        started.append(args)
        return CompiledSearcher.start(searcher, *args)

    monkeypatch.setattr(searcher, "start", start)
    request = TranslationRequest(scored=False)
    expected = Translator(model, Letters(), Letters(), options, max_length=20, request=request)
    actual = Translator(model, Letters(), Letters(), options, max_length=20, request=request, compiled=searcher)
    lines = ["abc", "", "hello", "thequickbrownfoxjumpsoverthelazydog", "z"] * 9
    assert [t.text for t in actual.translate(lines)] == [t.text for t in expected.translate(lines)]
    assert started
    started.clear()
    lines = ["abc", "hello", "z"]
    prefixes = ["ab"] * len(lines)
    texts = [t.text for t in actual.translate(lines, prefixes=prefixes)]
    assert texts == [t.text for t in expected.translate(lines, prefixes=prefixes)]
    assert not started and texts[0].startswith("ab")
