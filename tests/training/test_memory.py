"""Out of memory in training: batches are split and the gradient stays the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from test_loop import RandomBatches, eager, make_trainer, weights

from transformer_cli.batch import Batch
from transformer_cli.errors import UserError
from transformer_cli.memory import is_out_of_memory

ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory"),
    RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
    MemoryError(),
]


def limit_memory(model: Any, max_tokens: int, error: BaseException) -> list[int]:
    """Make the model raise `error`, after its forward pass, on batches of more than `max_tokens` with padding.

    Returns:
        A list to which the size of each batch is appended.
    """
    sizes: list[int] = []
    forward = model.forward

    def limited(batch: Batch) -> torch.Tensor:
        sizes.append(batch.src.numel() + batch.tgt_in.numel())
        out = forward(batch)
        if sizes[-1] > max_tokens:
            raise error
        return out

    model.forward = limited
    return sizes


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: type(e).__name__)
def test_split_batches_give_the_same_gradient(tmp_path: Path, error: BaseException) -> None:
    unlimited, limited = (make_trainer(tmp_path / name, "model.dropout=0") for name in "ab")
    batches = [RandomBatches(pairs=9).make(i) for i in range(2)]
    tokens = sum(b.tokens for b in batches)
    expected = eager(unlimited).gradient(batches, tokens)
    messages: list[str] = []
    eager(limited).notify = messages.append
    sizes = limit_memory(limited.state.model, 50, error)
    torch.testing.assert_close(eager(limited).gradient(batches, tokens), expected)
    for a, b in zip(limited.state.model.parameters(), unlimited.state.model.parameters(), strict=True):
        assert a.grad is not None
        torch.testing.assert_close(a.grad, b.grad, atol=1e-6, rtol=1e-5)
    assert messages and all("out of memory" in line for line in messages)
    attempts = len(sizes)
    eager(limited).gradient(batches, tokens)
    assert max(sizes[attempts:]) <= 50  # sizes that failed are not tried again


def test_a_run_with_limited_memory_completes(tmp_path: Path) -> None:
    t = make_trainer(tmp_path, "training.max_steps=6", "training.validate_every=100")
    limit_memory(t.state.model, 40, ERRORS[0])
    assert t.run() == "max_steps 6" and t.state.progress.step == 6


def test_a_single_pair_that_does_not_fit_is_an_error(tmp_path: Path) -> None:
    t = make_trainer(tmp_path)
    limit_memory(t.state.model, 1, ERRORS[0])
    pairs = RandomBatches().make(0)
    with pytest.raises(UserError, match="single sentence pair"):
        eager(t).gradient([pairs], pairs.tokens)


def test_other_errors_are_raised(tmp_path: Path) -> None:
    t = make_trainer(tmp_path)
    limit_memory(t.state.model, 1, RuntimeError("shapes do not match"))
    pairs = RandomBatches().make(0)
    with pytest.raises(RuntimeError, match="shapes"):
        eager(t).gradient([pairs], pairs.tokens)
    assert not is_out_of_memory(ValueError())


@pytest.mark.parametrize("packed", [False, True])
def test_split_keeps_all_pairs(packed: bool) -> None:
    pairs = replace(RandomBatches(pairs=7).make(3), packed=packed)
    batch, halves = pairs.collate(), [half.collate() for half in pairs.split()]
    assert [h.src_layout.sentences for h in halves] == [3, 4]
    assert all(h.src_layout.is_packed == packed for h in halves)
    assert torch.equal(torch.cat([h.tgt_out for h in halves]), batch.tgt_out)
    flat = [h.src_layout.flatten(h.src) for h in halves]
    assert torch.equal(torch.cat(flat), batch.src_layout.flatten(batch.src))
    assert pairs.padded_tokens == batch.src.numel() + batch.tgt_in.numel() and pairs.tokens == batch.tokens
    single = replace(pairs, rows=pairs.rows[:1])
    assert [list(part.rows) for part in single.split()] == [list(single.rows)]


def test_dry_run_has_no_side_effects(tmp_path: Path) -> None:
    t = make_trainer(tmp_path, "model.dropout=0.3")
    before, rng_state = weights(t), torch.get_rng_state()
    assert t.update.dry_run(RandomBatches().make(0)) > 1 << 20
    assert all(torch.equal(a, b) for a, b in zip(weights(t), before, strict=True))
    assert torch.equal(torch.get_rng_state(), rng_state)
    assert all(p.grad is None for p in t.state.model.parameters())
