"""A batch that does not fit: the run goes on, with the same gradient."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from test_loop import Numbers, eager, trainer, weights

from transformer_cli.batch import Batch
from transformer_cli.errors import UserError
from transformer_cli.memory import is_out_of_memory

ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory"),
    RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
    MemoryError(),
]


def starve(model: Any, most: int, error: BaseException) -> list[int]:
    """Let the model fail on batches of more than `most` cells, half of the time after its forward pass is done."""
    sizes: list[int] = []
    forward = model.forward

    def limited(batch: Batch) -> torch.Tensor:
        sizes.append(batch.src.numel() + batch.tgt_in.numel())
        out = forward(batch)
        if sizes[-1] > most:
            raise error
        return out

    model.forward = limited
    return sizes


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: type(e).__name__)
def test_halves_give_the_same_gradient(tmp_path: Path, error: BaseException) -> None:
    whole, starved = (trainer(tmp_path / name, "model.dropout=0") for name in "ab")
    batches = [Numbers(pairs=9).make(i) for i in range(2)]
    tokens = sum(b.tokens for b in batches)
    expected = eager(whole).gradient(batches, tokens)
    said: list[str] = []
    eager(starved).notify = said.append
    sizes = starve(starved.state.model, 50, error)
    torch.testing.assert_close(eager(starved).gradient(batches, tokens), expected)
    for a, b in zip(starved.state.model.parameters(), whole.state.model.parameters(), strict=True):
        assert a.grad is not None
        torch.testing.assert_close(a.grad, b.grad, atol=1e-6, rtol=1e-5)
    assert said and all("out of memory" in line for line in said)
    tried = len(sizes)
    eager(starved).gradient(batches, tokens)
    assert max(sizes[tried:]) <= 50  # what did not fit is not tried again


def test_a_whole_run_goes_through(tmp_path: Path) -> None:
    t = trainer(tmp_path, "training.max_steps=6", "training.validate_every=100")
    starve(t.state.model, 40, ERRORS[0])
    assert t.run() == "max_steps 6" and t.state.progress.step == 6


def test_a_pair_that_does_not_fit_is_said(tmp_path: Path) -> None:
    t = trainer(tmp_path)
    starve(t.state.model, 1, ERRORS[0])
    pairs = Numbers().make(0)
    with pytest.raises(UserError, match="single pair"):
        eager(t).gradient([pairs], pairs.tokens)


def test_other_errors_are_not_swallowed(tmp_path: Path) -> None:
    t = trainer(tmp_path)
    starve(t.state.model, 1, RuntimeError("shapes do not match"))
    pairs = Numbers().make(0)
    with pytest.raises(RuntimeError, match="shapes"):
        eager(t).gradient([pairs], pairs.tokens)
    assert not is_out_of_memory(ValueError())


@pytest.mark.parametrize("packed", [False, True])
def test_halves_hold_the_same_pairs(packed: bool) -> None:
    pairs = replace(Numbers(pairs=7).make(3), packed=packed)
    batch, split = pairs.collate(), [half.collate() for half in pairs.split()]
    assert [h.src_layout.sentences for h in split] == [3, 4]
    assert all(h.src_layout.is_packed == packed for h in split)
    assert torch.equal(torch.cat([h.tgt_out for h in split]), batch.tgt_out)
    flat = [h.src_layout.flatten(h.src) for h in split]
    assert torch.equal(torch.cat(flat), batch.src_layout.flatten(batch.src))
    assert pairs.padded_tokens == batch.src.numel() + batch.tgt_in.numel() and pairs.tokens == batch.tokens
    single = replace(pairs, rows=pairs.rows[:1])
    assert [list(part.rows) for part in single.split()] == [list(single.rows)]


def test_a_rehearsal_changes_nothing(tmp_path: Path) -> None:
    t = trainer(tmp_path, "model.dropout=0.3")
    before, random = weights(t), torch.get_rng_state()
    assert t.update.dry_run(Numbers().make(0)) > 1 << 20
    assert all(torch.equal(a, b) for a, b in zip(weights(t), before, strict=True))
    assert torch.equal(torch.get_rng_state(), random)
    assert all(p.grad is None for p in t.state.model.parameters())
