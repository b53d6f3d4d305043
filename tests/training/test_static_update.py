"""The update of fixed shape against its twin, which computes batch by batch as it comes."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from test_loop import VOCAB, Numbers, eager, pairs_of, same, trainer, weights
from torch import Tensor

from transformer_cli.batch import Batch, BatchPlan, TokenBudget
from transformer_cli.errors import UserError
from transformer_cli.training import static_update
from transformer_cli.training.device_corpus import DeviceCorpus
from transformer_cli.training.loop import Trainer
from transformer_cli.training.static_update import StaticUpdate, static_unsupported_reason
from transformer_cli.tree import tree_leaves

PLAIN = ["model.dropout=0.0", "data.max_length=16"]


def packed(index: int) -> BatchPlan:
    """Sentences of several lengths, to be packed."""
    rng = np.random.default_rng(index)
    lengths = rng.integers(1, 15, (2, 4 + index % 3))
    src, tgt = ([rng.integers(4, VOCAB, n) for n in side] for side in lengths)
    return pairs_of(src, tgt, packed=True)


def nothing(nll: Tensor) -> None:
    """One process exchanges nothing."""


def fixed(t: Trainer, tokens: int = 120) -> StaticUpdate:
    return StaticUpdate(eager(t), TokenBudget(tokens, 9, 16), t.notify)


@pytest.mark.parametrize("settings", [[], ["training.ema=0.9"], ["optim.algorithm=muon"], ["model.norm_type=rms"]])
def test_it_does_what_its_twin_does(tmp_path: Path, settings: list[str]) -> None:
    one, other = (trainer(tmp_path / name, *PLAIN, *settings) for name in "ab")
    update = fixed(other)
    for i in range(6):
        batch, rate = packed(i), 1e-3 * (i + 1)
        a = eager(one)([batch], batch.tokens, rate, nothing)
        b = update([batch], batch.tokens, rate, nothing)
        assert a.done and b.done
        torch.testing.assert_close(a.nll, b.nll, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(a.norm, b.norm, rtol=1e-5, atol=1e-5)
        for t in (one, other):
            t.state.progress.step += 1
    assert update.calls == 6
    torch.testing.assert_close(weights(one), weights(other), rtol=1e-4, atol=1e-5)
    if one.state.average is not None and other.state.average is not None:
        torch.testing.assert_close(one.state.average.average, other.state.average.average, rtol=1e-4, atol=1e-5)


def test_nothing_changes_its_shape_or_place(tmp_path: Path) -> None:
    update = fixed(trainer(tmp_path, *PLAIN))

    def places() -> list[tuple[int, torch.Size]]:
        b = update.batch
        return [
            (x.data_ptr(), x.shape) for x in (*tree_leaves(b), update.token_weights, update.tokens, update.nll)
        ]

    before = places()
    assert len({pointer for pointer, _ in before}) == len(before)  # no two share memory
    for i in range(3):
        update([packed(i)], packed(i).tokens, 1e-3, nothing)
        assert places() == before


@pytest.mark.parametrize("settings", [[], ["optim.algorithm=muon"], ["training.ema=0.9"]])
def test_a_gradient_that_is_not_finite_changes_nothing(
    tmp_path: Path, settings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(static_update, "POLL_INTERVAL", 5)
    said: list[str] = []
    t = trainer(tmp_path, *PLAIN, *settings)
    update = fixed(t)
    update.notify = said.append
    update([packed(0)], packed(0).tokens, 1e-2, nothing)
    before = weights(t)
    held = {k: v.clone() for k, v in t.state.optimizer_tensors().items()}
    count = update.tokens.fill_

    def spoil(value: float) -> Tensor:
        return count(math.nan)

    update.tokens.fill_ = spoil  # type: ignore[method-assign]
    found = update([packed(1)], packed(1).tokens, 1e-2, nothing)
    assert same(before, weights(t)) and float(found.nll) == 0.0
    now = t.state.optimizer_tensors()
    assert held.keys() == now.keys() and all(torch.equal(held[k], now[k]) for k in held)
    update.tokens.fill_ = count  # type: ignore[method-assign]
    for i in range(3):
        update([packed(i)], packed(i).tokens, 1e-2, nothing)
    assert not same(before, weights(t))
    assert said == ["1 of the last 5 updates had no finite gradient and were left out"]


def test_it_gives_up_when_nothing_changes_any_more(tmp_path: Path) -> None:
    t = trainer(tmp_path, *PLAIN)
    update = fixed(t)
    next(t.state.model.parameters()).data.fill_(math.nan)
    with pytest.raises(UserError, match="diverged"):
        for i in range(static_update.POLL_INTERVAL):
            update([packed(i)], packed(i).tokens, 1e-2, nothing)


def test_what_does_not_fit_goes_to_the_twin(tmp_path: Path) -> None:
    t = trainer(tmp_path, *PLAIN)
    update = fixed(t, tokens=20)
    before = weights(t)
    assert update([packed(0)], packed(0).tokens, 1e-2, nothing).done
    assert update.calls == 0 and not same(before, weights(t))


def test_out_of_memory_goes_to_the_twin_for_good(tmp_path: Path) -> None:
    said: list[str] = []
    t = trainer(tmp_path, *PLAIN)
    update, forward = fixed(t), t.state.model.forward
    update.notify = said.append

    def limited(batch: Batch) -> Tensor:
        if batch is update.batch:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(batch)

    t.state.model.forward = limited  # type: ignore[method-assign]
    for i in range(2):
        assert update([packed(i)], packed(i).tokens, 1e-2, nothing).done
    assert len(said) == 2 and all("out of memory" in line for line in said) and update.calls == 0


@pytest.mark.parametrize("times", [1, 2])
def test_no_memory_for_a_batch_gives_that_of_the_corpus_back(tmp_path: Path, times: int) -> None:
    said: list[str] = []
    one, other = (trainer(tmp_path / name, *PLAIN) for name in "ab")
    update, collate, left = fixed(other), DeviceCorpus.collate, times
    update.notify = said.append

    def limited(pairs: BatchPlan) -> Batch:
        nonlocal left
        if update.calls == 1 and left:
            left -= 1
            raise torch.OutOfMemoryError("CUDA out of memory")
        return collate(update.corpus, pairs)

    update.corpus.collate = limited  # type: ignore[method-assign]
    for i in range(4):
        found = [u([packed(i)], packed(i).tokens, 1e-3, nothing) for u in (eager(one), update)]
        torch.testing.assert_close(found[0].nll, found[1].nll, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(weights(one), weights(other), rtol=1e-4, atol=1e-5)
    assert len(said) == times and not update.corpus.enabled and update.fits == (times == 1)


def test_a_whole_run_of_the_loop(tmp_path: Path) -> None:
    t = trainer(tmp_path, *PLAIN, "training.max_steps=6", stream=Packed())
    t.update = fixed(t)
    assert t.run() == "max_steps 6"
    again = trainer(tmp_path, *PLAIN, "training.max_steps=8", resume=True, stream=Packed())
    assert again.state.progress.step == 6


class Packed(Numbers):
    """Packed batches without end."""

    def make(self, index: int) -> BatchPlan:
        return packed(index)


def test_without_cuda_there_is_no_graph(tmp_path: Path) -> None:
    t = trainer(tmp_path, *PLAIN)
    assert "CUDA" in static_unsupported_reason(t.state, t.config)
