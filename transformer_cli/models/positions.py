"""How a layer stack is told where its tokens stand.

Shapes: D `d_model`, H heads, K head size; `[..., D]` is `[B, L, D]` or `[N, D]`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from transformer_cli.ops.positions import rotate, rotation, sinusoids
from transformer_cli.schema import ModelConfig


class Positions(nn.Module):
    """Tells a layer stack where its tokens stand: added to the input, or turned into queries and keys."""

    def add(self, x: Tensor, positions: Tensor) -> Tensor:
        """`[..., D]` at `positions` -> `[..., D]`."""
        return x

    def rotation(self, positions: Tensor, dtype: torch.dtype) -> Tensor | None:
        """What `turn` needs to know of these positions."""
        return None

    def rotate(self, x: Tensor, rotation: Tensor | None) -> Tensor:
        """Queries and keys `[..., H, K]` -> the same shape."""
        return x


class SinusoidalPositions(Positions):
    """Section 3.5: fixed sinusoids added to the embedding."""

    def add(self, x: Tensor, positions: Tensor) -> Tensor:
        return x + sinusoids(positions, x.shape[-1]).to(x.dtype)


class LearnedPositions(Positions):
    """One learned vector a position, up to `max_positions`."""

    def __init__(self, d_model: int, max_positions: int) -> None:
        super().__init__()
        self.table = nn.Embedding(max_positions, d_model)
        nn.init.normal_(self.table.weight, std=0.02)

    def add(self, x: Tensor, positions: Tensor) -> Tensor:
        out: Tensor = x + self.table(positions)
        return out


class RotaryPositions(Positions):
    """Su et al. 2021: queries and keys of self-attention are turned by their position."""

    def __init__(self, head_size: int) -> None:
        super().__init__()
        self.head_size = head_size

    def rotation(self, positions: Tensor, dtype: torch.dtype) -> Tensor | None:
        return rotation(positions, self.head_size, dtype)

    def rotate(self, x: Tensor, rotation: Tensor | None) -> Tensor:
        return x if rotation is None else rotate(x, rotation)


def build_positions(config: ModelConfig, *, added: bool = False) -> Positions:
    """The positions of that name.

    added: for an architecture without queries and keys to turn, where sinusoids stand in for rotary positions.
    """
    kind = config.positions
    if kind == "learned":
        return LearnedPositions(config.d_model, config.max_positions)
    if added or kind == "sinusoidal":
        return SinusoidalPositions()
    return RotaryPositions(config.d_model // config.num_heads)
