"""Recurrent cells: the same weights at every position, one position after the other.

A cell reads the projection of its input, computed for all positions at once, and the state of the position before.

Shapes: R rows (sentences or beams), D state size, G gates.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from transformer_cli.layout import Layout

State = tuple[Tensor, ...]
"""What a cell hands on, each `[R, D]`; the first is its output."""


class Cell(nn.Module):
    """h' = step(W x + b, h). `gates` maps are computed from the input, and as many from the state."""

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
            nn.init.orthogonal_(gate)  # its eigenvalues have length 1: the longest memory to begin with

    def step(self, projected: Tensor, state: State) -> State:
        """`[R, G · D]` and the state -> the next state."""
        raise NotImplementedError

    def zero(self, rows: int, like: Tensor) -> State:
        """The state before the first position."""
        return tuple(like.new_zeros(rows, self.size) for _ in range(self.states))


class TanhCell(Cell):
    """h' = tanh(W x + U h) (Elman 1990)."""

    gates = 1

    def step(self, projected: Tensor, state: State) -> State:
        return (torch.tanh(projected + state[0] @ self.recurrent.t()),)


class GRUCell(Cell):
    """Gated recurrent unit (Cho et al. 2014, equations 5 to 8), the reset gate applied to U h."""

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
            self.input.bias[size : 2 * size] = 1.0  # remember by default (Jozefowicz et al. 2015)

    def step(self, projected: Tensor, state: State) -> State:
        h, c = state
        enter, forget, new, leave = (projected + h @ self.recurrent.t()).chunk(4, dim=-1)
        c = torch.sigmoid(forget) * c + torch.sigmoid(enter) * torch.tanh(new)
        return torch.sigmoid(leave) * torch.tanh(c), c


CELLS: dict[str, type[Cell]] = {"tanh": TanhCell, "gru": GRUCell, "lstm": LSTMCell}


def run_cell(cell: Cell, x: Tensor, state: State) -> Tensor:
    """Run a cell from left to right: `[B, L, inputs]` and the first state -> `[B, L, D]`."""
    outputs = []
    for projected in cell.input(x).unbind(dim=1):
        state = cell.step(projected, state)
        outputs.append(state[0])
    return torch.stack(outputs, dim=1)


def reverse_tokens(x: Tensor, layout: Layout) -> Tensor:
    """Reverse the tokens of each sentence, padding stays at the end: `[B, L, ...]`; its own inverse."""
    places = torch.arange(layout.max_seqlen, device=x.device)
    places = torch.where(places < layout.lengths[:, None], layout.lengths[:, None] - 1 - places, places)
    return x[torch.arange(len(x), device=x.device)[:, None], places]
