"""Recurrent cells, run over one position at a time.

The input projection is computed for all positions at once; a step combines it with the previous
state.

Shapes: R rows (sentences or beams), D state size, G gates.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from transformer_cli.layout import Layout

State = tuple[Tensor, ...]
"""The state of a cell: tensors `[R, D]`, the first of which is the output."""


class Cell(nn.Module):
    """Base class: h' = step(W x + b, h).

    Attributes:
        gates: number of projections of the input, and of the state.
        states: number of tensors in the state.
    """

    gates: int
    states: int = 1

    def __init__(self, inputs: int, size: int) -> None:
        super().__init__()
        self.size = size
        self.input = nn.Linear(inputs, self.gates * size)
        self.recurrent = nn.Parameter(torch.empty(self.gates * size, size))
        nn.init.xavier_uniform_(self.input.weight)
        nn.init.zeros_(self.input.bias)
        for gate in self.recurrent.chunk(self.gates):
            # All eigenvalues have modulus 1: repeated multiplication neither shrinks nor grows the state.
            nn.init.orthogonal_(gate)

    def step(self, projected: Tensor, state: State) -> State:
        """Compute the next state from the projected input `[R, G · D]` and the state."""
        raise NotImplementedError

    def zero(self, rows: int, like: Tensor) -> State:
        """The zero state of `rows` rows."""
        return tuple(like.new_zeros(rows, self.size) for _ in range(self.states))


class TanhCell(Cell):
    """h' = tanh(W x + U h) (Elman 1990)."""

    gates = 1

    def step(self, projected: Tensor, state: State) -> State:
        return (torch.tanh(projected + state[0] @ self.recurrent.t()),)


class GRUCell(Cell):
    """Gated recurrent unit (Cho et al. 2014, equations 5 to 8), with the reset gate applied to U h."""

    gates = 3

    def step(self, projected: Tensor, state: State) -> State:
        (h,) = state
        x_reset, x_update, x_new = projected.chunk(3, dim=-1)
        h_reset, h_update, h_new = (h @ self.recurrent.t()).chunk(3, dim=-1)
        reset, update = torch.sigmoid(x_reset + h_reset), torch.sigmoid(x_update + h_update)
        new = torch.tanh(x_new + reset * h_new)
        return (update * h + (1.0 - update) * new,)


class LSTMCell(Cell):
    """Long short-term memory (Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000)."""

    gates = 4
    states = 2

    def __init__(self, inputs: int, size: int) -> None:
        super().__init__(inputs, size)
        with torch.no_grad():
            self.input.bias[size : 2 * size] = 1.0  # forget gate bias of 1 (Jozefowicz et al. 2015)

    def step(self, projected: Tensor, state: State) -> State:
        h, c = state
        i, f, g, o = (projected + h @ self.recurrent.t()).chunk(4, dim=-1)  # input, forget, cell, output gates
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


CELLS: dict[str, type[Cell]] = {"tanh": TanhCell, "gru": GRUCell, "lstm": LSTMCell}


def run_cell(cell: Cell, x: Tensor, state: State) -> Tensor:
    """Run a cell from left to right: `[B, L, inputs]` and the initial state -> `[B, L, D]`."""
    outputs = []
    for projected in cell.input(x).unbind(dim=1):
        state = cell.step(projected, state)
        outputs.append(state[0])
    return torch.stack(outputs, dim=1)


def reverse_tokens(x: Tensor, layout: Layout) -> Tensor:
    """Reverse the tokens of each sentence of `[B, L, ...]` and leave padding at the end; an involution."""
    indices = torch.arange(layout.max_seqlen, device=x.device)
    indices = torch.where(indices < layout.lengths[:, None], layout.lengths[:, None] - 1 - indices, indices)
    return x[torch.arange(len(x), device=x.device)[:, None], indices]
