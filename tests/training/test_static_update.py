"""Static-shape updates compared with eager updates."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from test_loop import VOCAB, RandomBatches, all_equal, eager, make_trainer, pairs_of, weights
from torch import Tensor

from transformer_cli.batch import Batch, BatchPlan, Sentences, TokenBudget
from transformer_cli.config import load_config
from transformer_cli.data.batching import plan_packed_epoch
from transformer_cli.data.store import EncodedCorpus
from transformer_cli.errors import UserError
from transformer_cli.training import static_update
from transformer_cli.training.device_corpus import DeviceCorpus
from transformer_cli.training.loop import Trainer
from transformer_cli.training.static_update import StaticUpdate, static_unsupported_reason, token_budget
from transformer_cli.tree import tree_leaves

PLAIN = ["model.dropout=0.0", "data.max_length=16"]


def packed(index: int) -> BatchPlan:
    """A packed batch of random sentences."""
    rng = np.random.default_rng(index)
    lengths = rng.integers(1, 15, (2, 4 + index % 3))
    src, tgt = ([rng.integers(4, VOCAB, n) for n in side] for side in lengths)
    return pairs_of(src, tgt, packed=True)


def no_reduce(nll: Tensor) -> None:
    """The all-reduce of a single process."""


def static(t: Trainer, tokens: int = 120) -> StaticUpdate:
    return StaticUpdate(eager(t), TokenBudget(tokens, 9, 16), t.notify)


@pytest.mark.parametrize("settings", [[], ["training.ema=0.9"], ["optim.algorithm=muon"], ["model.norm_type=rms"]])
def test_static_updates_equal_eager_updates(tmp_path: Path, settings: list[str]) -> None:
    reference, t = (make_trainer(tmp_path / name, *PLAIN, *settings) for name in "ab")
    update = static(t)
    for i in range(6):
        batch, lr = packed(i), 1e-3 * (i + 1)
        a = eager(reference)([batch], batch.tokens, lr, no_reduce)
        b = update([batch], batch.tokens, lr, no_reduce)
        assert a.applied and b.applied
        torch.testing.assert_close(a.nll, b.nll, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(a.norm, b.norm, rtol=1e-5, atol=1e-5)
        for state in (reference.state, t.state):
            state.progress.step += 1
    assert update.calls == 6
    torch.testing.assert_close(weights(reference), weights(t), rtol=1e-4, atol=1e-5)
    if reference.state.average is not None and t.state.average is not None:
        torch.testing.assert_close(reference.state.average.average, t.state.average.average, rtol=1e-4, atol=1e-5)


def test_addresses_and_shapes_are_static(tmp_path: Path) -> None:
    update = static(make_trainer(tmp_path, *PLAIN))

    def storage() -> list[tuple[int, torch.Size]]:
        scalars = update.token_weights, update.tokens, update.nll
        return [(x.data_ptr(), x.shape) for x in (*tree_leaves(update.batch), *scalars)]

    before = storage()
    assert len({pointer for pointer, _ in before}) == len(before)  # no two share memory
    for i in range(3):
        update([packed(i)], packed(i).tokens, 1e-3, no_reduce)
        assert storage() == before


@pytest.mark.parametrize("settings", [[], ["optim.algorithm=muon"], ["training.ema=0.9"]])
def test_an_update_with_a_non_finite_gradient_is_skipped(
    tmp_path: Path, settings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(static_update, "POLL_INTERVAL", 5)
    messages: list[str] = []
    t = make_trainer(tmp_path, *PLAIN, *settings)
    update = static(t)
    update.notify = messages.append
    update([packed(0)], packed(0).tokens, 1e-2, no_reduce)
    before = weights(t)
    optimizer_before = {k: v.clone() for k, v in t.state.optimizer_tensors().items()}
    fill = update.tokens.fill_

    def fill_nan(value: float) -> Tensor:
        return fill(math.nan)

    update.tokens.fill_ = fill_nan  # type: ignore[method-assign]
    result = update([packed(1)], packed(1).tokens, 1e-2, no_reduce)
    assert all_equal(before, weights(t)) and float(result.nll) == 0.0
    after = t.state.optimizer_tensors()
    assert optimizer_before.keys() == after.keys()
    assert all(torch.equal(optimizer_before[k], after[k]) for k in after)
    update.tokens.fill_ = fill  # type: ignore[method-assign]
    for i in range(3):
        update([packed(i)], packed(i).tokens, 1e-2, no_reduce)
    assert not all_equal(before, weights(t))
    assert messages == ["skipped 1 of the last 5 updates: the gradient was not finite"]


def test_consecutive_skipped_updates_are_an_error(tmp_path: Path) -> None:
    t = make_trainer(tmp_path, *PLAIN)
    update = static(t)
    next(t.state.model.parameters()).data.fill_(math.nan)
    with pytest.raises(UserError, match="diverged"):
        for i in range(static_update.POLL_INTERVAL):
            update([packed(i)], packed(i).tokens, 1e-2, no_reduce)


def test_batches_that_do_not_fit_run_eagerly(tmp_path: Path) -> None:
    t = make_trainer(tmp_path, *PLAIN)
    update = static(t, tokens=20)
    before = weights(t)
    assert update([packed(0)], packed(0).tokens, 1e-2, no_reduce).applied
    assert update.calls == 0 and not all_equal(before, weights(t))


def test_all_updates_run_eagerly_after_out_of_memory(tmp_path: Path) -> None:
    messages: list[str] = []
    t = make_trainer(tmp_path, *PLAIN)
    update, forward = static(t), t.state.model.forward
    update.notify = messages.append

    def limited(batch: Batch) -> Tensor:
        if batch is update.batch:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(batch)

    t.state.model.forward = limited  # type: ignore[method-assign]
    for i in range(2):
        assert update([packed(i)], packed(i).tokens, 1e-2, no_reduce).applied
    assert len(messages) == 2 and all("out of memory" in line for line in messages) and update.calls == 0


@pytest.mark.parametrize("failures", [1, 2])
def test_out_of_memory_first_releases_the_corpus(tmp_path: Path, failures: int) -> None:
    messages: list[str] = []
    reference, t = (make_trainer(tmp_path / name, *PLAIN) for name in "ab")
    update, collate, remaining = static(t), DeviceCorpus.collate, failures
    update.notify = messages.append

    def limited(pairs: BatchPlan) -> Batch:
        nonlocal remaining
        if update.calls == 1 and remaining:
            remaining -= 1
            raise torch.OutOfMemoryError("CUDA out of memory")
        return collate(update.corpus, pairs)

    update.corpus.collate = limited  # type: ignore[method-assign]
    for i in range(4):
        results = [u([packed(i)], packed(i).tokens, 1e-3, no_reduce) for u in (eager(reference), update)]
        torch.testing.assert_close(results[0].nll, results[1].nll, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(weights(reference), weights(t), rtol=1e-4, atol=1e-5)
    assert len(messages) == failures and not update.corpus.enabled and update.fits == (failures == 1)


def test_the_training_loop_with_static_updates(tmp_path: Path) -> None:
    t = make_trainer(tmp_path, *PLAIN, "training.max_steps=6", stream=PackedBatches())
    t.update = static(t)
    assert t.run() == "max_steps 6"
    resumed = make_trainer(tmp_path, *PLAIN, "training.max_steps=8", resume=True, stream=PackedBatches())
    assert resumed.state.progress.step == 6


class PackedBatches(RandomBatches):
    """An infinite stream of packed batches."""

    def make(self, index: int) -> BatchPlan:
        return packed(index)


def test_graphs_are_unsupported_without_cuda(tmp_path: Path) -> None:
    t = make_trainer(tmp_path, *PLAIN)
    assert "CUDA" in static_unsupported_reason(t.state, t.config)


def test_the_static_shape_fits_the_batches_of_a_corpus() -> None:
    """Nearly every planned batch is as large as the token budget allows; few slots stay empty."""
    rng = np.random.default_rng(0)
    src, tgt = (Sentences.pack([rng.integers(4, 99, n) for n in rng.gamma(4, 5, 5_000).astype(int)]) for _ in "st")
    config = load_config(None, ["data.batch_tokens=2000", "data.max_length=200"])
    budget = token_budget(config, src, tgt)
    assert budget.max_length % 64 == 0 and budget.max_length >= max(src.lengths.max(), tgt.lengths.max())
    plan = plan_packed_epoch(EncodedCorpus(src, tgt, np.arange(len(src)), {}), budget, 0, 0)
    cut = sum(len(rows) == budget.sentences for rows in plan)
    assert all(budget.fits(BatchPlan(src, tgt, rows, packed=True)) for rows in plan)
    assert cut < 0.1 * len(plan) and np.mean([len(rows) for rows in plan]) > 0.7 * budget.sentences
