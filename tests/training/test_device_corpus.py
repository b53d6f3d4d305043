"""Batches collated on the device compared with batches collated on the host."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import torch
from test_loop import VOCAB, pairs_of

from transformer_cli.batch import BatchPlan, TokenBudget
from transformer_cli.config import load_config
from transformer_cli.models.registry import build_model
from transformer_cli.ops import attention
from transformer_cli.ops.varlen import is_varlen_available
from transformer_cli.token_ids import BOS
from transformer_cli.training import device_corpus
from transformer_cli.training import loss as loss_module
from transformer_cli.training.compiled import CompiledLayers
from transformer_cli.training.device_corpus import DeviceCorpus
from transformer_cli.training.loss import label_smoothed_cross_entropy

BUDGET = TokenBudget(90, 9, 16)
CPU = torch.device("cpu")


def corpus(seed: int) -> BatchPlan:
    """All pairs of a random corpus."""
    rng = np.random.default_rng(seed)
    return pairs_of(*([rng.integers(4, VOCAB, n) for n in rng.integers(0, 15, 40)] for _ in "st"), packed=True)


def select(pairs: BatchPlan, *rows: int) -> BatchPlan:
    return BatchPlan(pairs.src, pairs.tgt, np.array(rows), packed=True)


@pytest.mark.parametrize("fits", [True, False])
def test_device_batches_equal_host_batches(fits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_corpus, "_free_memory", lambda device: 1e9 if fits else 0)
    messages: list[str] = []
    all_pairs, on_device = corpus(0), DeviceCorpus(BUDGET, CPU, messages.append)
    for rows in ([3, 1, 2], [39], [0, 5, 0, 17, 30]):
        pairs = select(all_pairs, *rows)
        assert BUDGET.fits(pairs)
        batch, expected = on_device.collate(pairs), pairs.collate()
        sides = (
            (batch.src, batch.src_layout, expected.src_layout),
            (batch.tgt_out, batch.tgt_layout, expected.tgt_layout),
        )
        for ids, layout, expected_layout in sides:
            assert ids.shape == layout.positions.shape == (BUDGET.tokens,)
            assert torch.equal(layout.lengths[: len(rows)], expected_layout.lengths)
            assert torch.equal(layout.positions[: expected_layout.tokens], expected_layout.positions)
        for name in ("src", "tgt_in", "tgt_out"):
            ids, expected_ids = getattr(batch, name), getattr(expected, name)
            assert torch.equal(ids[: len(expected_ids)], expected_ids)
        starts = batch.tgt_layout.positions == 0
        assert bool((batch.tgt_in[starts] == BOS).all())
    assert on_device.enabled == fits and len(messages) == (not fits)


def test_the_corpus_of_a_new_epoch_replaces_the_cached_one() -> None:
    on_device, first, second = DeviceCorpus(BUDGET, CPU, print), corpus(1), corpus(2)
    on_device.collate(select(first, 1, 2))
    cached = on_device._sides
    on_device.collate(select(first, 3))
    assert on_device._sides is cached  # the same corpus is not copied again
    batch = on_device.collate(select(second, 4, 5))
    expected = select(second, 4, 5).collate()
    assert torch.equal(batch.src[: len(expected.src)], expected.src) and on_device._sides is not cached


@pytest.mark.skipif(not is_varlen_available(), reason="needs torch.nn.attention.varlen")
@pytest.mark.parametrize("use_compiled", [False, True])
def test_an_update_never_synchronizes_with_the_device(use_compiled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs the GPU code path, forward and backward, on meta tensors: reading a value from them raises an error."""
    monkeypatch.setattr(attention, "supports_varlen", lambda q: True)
    monkeypatch.setattr(loss_module, "matmul_dtype", lambda x: x.dtype)  # the meta device has no autocast
    torch.compiler.reset()
    meta = torch.device("meta")
    config = load_config(None, ["model.preset=tiny", "model.dropout=0.1"]).model
    model = build_model(config, VOCAB, VOCAB).to(device=meta, dtype=torch.bfloat16)
    batch = DeviceCorpus(BUDGET, meta, print).collate(select(corpus(3), 0, 5, 17))
    compiled = CompiledLayers(model, backend="aot_eager") if use_compiled else None
    with compiled.use_compiled() if compiled else contextlib.nullcontext():
        states = model(batch)
    loss, _ = label_smoothed_cross_entropy(
        states, model.output_weight, batch.tgt_out, 0.1, torch.ones(BUDGET.tokens, device=meta)
    )
    torch.autograd.backward(loss)
    assert all(p.grad is not None and p.grad.shape == p.shape for p in model.parameters())
