"""Recurrent cells compared with those of `torch.nn`."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from transformer_cli.layout import Layout
from transformer_cli.ops.recurrence import CELLS, Cell, reverse_tokens, run_cell

TORCH_CELLS = {"tanh": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


def torch_cell(kind: str, cell: Cell, inputs: int) -> nn.Module:
    """torch's cell with the same weights; the gates are in the same order."""
    reference = TORCH_CELLS[kind](inputs, cell.size, batch_first=True).double()
    with torch.no_grad():
        reference.weight_ih_l0.copy_(cell.input.weight)
        reference.weight_hh_l0.copy_(cell.recurrent)
        reference.bias_ih_l0.copy_(cell.input.bias)
        reference.bias_hh_l0.zero_()
    return reference


@pytest.mark.parametrize("kind", CELLS)
def test_cell_equals_torch_cell(kind: str) -> None:
    cell = CELLS[kind](5, 6).double()
    nn.init.normal_(cell.input.bias)
    reference, x = torch_cell(kind, cell, 5), torch.randn(3, 7, 5, dtype=torch.float64)
    expected: Tensor = reference(x)[0]
    torch.testing.assert_close(run_cell(cell, x, cell.zero(3, x)), expected)


@pytest.mark.parametrize("kind", CELLS)
def test_recurrent_weights_are_initialised_orthogonal(kind: str) -> None:
    """All singular values of each gate are 1."""
    for gate in CELLS[kind](5, 6).recurrent.chunk(CELLS[kind].gates):
        torch.testing.assert_close(torch.linalg.svdvals(gate), torch.ones(6))


def test_reverse_tokens_leaves_padding_at_the_end() -> None:
    x = torch.tensor([[1, 2, 3, 0], [4, 5, 6, 7], [8, 0, 0, 0]]).unsqueeze(-1)
    layout = Layout.padded([3, 4, 1])
    reversed_x = reverse_tokens(x, layout)
    assert reversed_x.squeeze(-1).tolist() == [[3, 2, 1, 0], [7, 6, 5, 4], [8, 0, 0, 0]]
    assert torch.equal(reverse_tokens(reversed_x, layout), x)
