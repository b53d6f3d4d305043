"""Cells against torch's own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from transformer_cli.layout import Layout
from transformer_cli.ops.recurrence import CELLS, Cell, reverse_tokens, run_cell

ORACLES = {"tanh": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


def oracle_of(kind: str, cell: Cell, inputs: int) -> nn.Module:
    """torch's cell with the weights of ours; its gates stand in the same order."""
    oracle = ORACLES[kind](inputs, cell.size, batch_first=True).double()
    with torch.no_grad():
        oracle.weight_ih_l0.copy_(cell.input.weight)
        oracle.weight_hh_l0.copy_(cell.recurrent)
        oracle.bias_ih_l0.copy_(cell.input.bias)
        oracle.bias_hh_l0.zero_()
    return oracle


@pytest.mark.parametrize("kind", CELLS)
def test_a_cell_is_that_of_the_books(kind: str) -> None:
    cell = CELLS[kind](5, 6).double()
    nn.init.normal_(cell.input.bias)
    oracle, x = oracle_of(kind, cell, 5), torch.randn(3, 7, 5, dtype=torch.float64)
    expected: Tensor = oracle(x)[0]
    torch.testing.assert_close(run_cell(cell, x, cell.zero(3, x)), expected)


@pytest.mark.parametrize("kind", CELLS)
def test_a_new_cell_keeps_lengths(kind: str) -> None:
    """Orthogonal recurrent weights: every singular value is 1."""
    for gate in CELLS[kind](5, 6).recurrent.chunk(CELLS[kind].gates):
        torch.testing.assert_close(torch.linalg.svdvals(gate), torch.ones(6))


def test_flip_reverses_tokens_and_leaves_padding() -> None:
    x = torch.tensor([[1, 2, 3, 0], [4, 5, 6, 7], [8, 0, 0, 0]]).unsqueeze(-1)
    layout = Layout.padded([3, 4, 1])
    flipped = reverse_tokens(x, layout)
    assert flipped.squeeze(-1).tolist() == [[3, 2, 1, 0], [7, 6, 5, 4], [8, 0, 0, 0]]
    assert torch.equal(reverse_tokens(flipped, layout), x)
