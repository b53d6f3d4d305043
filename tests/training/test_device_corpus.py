"""Batches that the device lays out against their twin, laid out on the host."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import torch
from test_loop import VOCAB, pairs_of

from transformer_cli.batch import BOS, BatchPlan, TokenBudget
from transformer_cli.config import load_config
from transformer_cli.models.registry import build_model
from transformer_cli.ops import attention
from transformer_cli.ops.varlen import is_varlen_available
from transformer_cli.training import device_corpus
from transformer_cli.training import loss as loss_module
from transformer_cli.training.compiled import CompiledLayers
from transformer_cli.training.device_corpus import DeviceCorpus
from transformer_cli.training.loss import label_smoothed_cross_entropy

BUDGET = TokenBudget(90, 9, 16)
CPU = torch.device("cpu")


def corpus(seed: int) -> BatchPlan:
    """All pairs of a corpus."""
    rng = np.random.default_rng(seed)
    return pairs_of(*([rng.integers(4, VOCAB, n) for n in rng.integers(0, 15, 40)] for _ in "st"), packed=True)


def chosen(whole: BatchPlan, *rows: int) -> BatchPlan:
    return BatchPlan(whole.src, whole.tgt, np.array(rows), packed=True)


@pytest.mark.parametrize("room", [True, False])
def test_a_batch_holds_what_the_host_would_lay_out(room: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_corpus, "_free_memory", lambda device: 1e9 if room else 0)
    said: list[str] = []
    whole, laid = corpus(0), DeviceCorpus(BUDGET, CPU, said.append)
    for rows in ([3, 1, 2], [39], [0, 5, 0, 17, 30]):
        pairs = chosen(whole, *rows)
        assert BUDGET.fits(pairs)
        ours, twin = laid.collate(pairs), pairs.collate()
        sides = (ours.src, ours.src_layout, twin.src_layout), (ours.tgt_out, ours.tgt_layout, twin.tgt_layout)
        for ids, layout, own in sides:
            assert ids.shape == layout.positions.shape == (BUDGET.tokens,)
            assert torch.equal(layout.lengths[: len(rows)], own.lengths)
            assert torch.equal(layout.positions[: own.tokens], own.positions)
        for ids, own_ids in ((ours.src, twin.src), (ours.tgt_in, twin.tgt_in), (ours.tgt_out, twin.tgt_out)):
            assert torch.equal(ids[: len(own_ids)], own_ids)
        begins = ours.tgt_layout.positions == 0
        assert bool((ours.tgt_in[begins] == BOS).all())
    assert laid.enabled == room and len(said) == (not room)


def test_the_corpus_of_another_epoch_takes_the_place_of_the_first() -> None:
    laid, one, other = DeviceCorpus(BUDGET, CPU, print), corpus(1), corpus(2)
    laid.collate(chosen(one, 1, 2))
    held = laid._sides
    laid.collate(chosen(one, 3))
    assert laid._sides is held  # nothing is sent twice
    batch = laid.collate(chosen(other, 4, 5))
    twin = chosen(other, 4, 5).collate()
    assert torch.equal(batch.src[: len(twin.src)], twin.src) and laid._sides is not held


@pytest.mark.skipif(not is_varlen_available(), reason="this torch has no attention for packed sentences")
@pytest.mark.parametrize("compiles", [False, True])
def test_the_device_is_asked_for_nothing(compiles: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forward and backward on tensors without values, which have none to give, with all that a GPU does."""
    monkeypatch.setattr(attention, "supports_varlen", lambda q: True)
    monkeypatch.setattr(loss_module, "matmul_dtype", lambda x: x.dtype)  # this device knows no autocast
    torch.compiler.reset()
    meta = torch.device("meta")
    config = load_config(None, ["model.preset=tiny", "model.dropout=0.1"]).model
    model = build_model(config, VOCAB, VOCAB).to(device=meta, dtype=torch.bfloat16)
    batch = DeviceCorpus(BUDGET, meta, print).collate(chosen(corpus(3), 0, 5, 17))
    layers = CompiledLayers(model, backend="aot_eager").use_compiled() if compiles else contextlib.nullcontext()
    with layers:
        states = model(batch)
    loss, _ = label_smoothed_cross_entropy(
        states, model.output_weight, batch.tgt_out, 0.1, torch.ones(BUDGET.tokens, device=meta)
    )
    torch.autograd.backward(loss)
    assert all(p.grad is not None and p.grad.shape == p.shape for p in model.parameters())
