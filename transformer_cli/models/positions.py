"""Position encoding modules: added to the input, or applied to queries and keys.

Shapes: D `d_model`, H heads, K head size; `[..., D]` is `[B, L, D]` or `[N, D]`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from transformer_cli.ops.positions import rotate, rotation, sinusoids
from transformer_cli.schema import ModelConfig


class Positions(nn.Module):
    """Base class. Subclasses override `add`, or `rotation` and `rotate`."""

    def add(self, x: Tensor, positions: Tensor) -> Tensor:
        """Add the encoding of `positions` to the input: `[..., D]` -> `[..., D]`."""
        return x

    def rotation(self, positions: Tensor, dtype: torch.dtype) -> Tensor | None:
        """Compute the argument of `rotate` for these positions; None if queries and keys are not rotated."""
        return None

    def rotate(self, x: Tensor, rotation: Tensor | None) -> Tensor:
        """Rotate queries or keys: `[..., H, K]` -> `[..., H, K]`."""
        return x


class SinusoidalPositions(Positions):
    """Fixed sinusoids added to the embedding (Vaswani et al. 2017, section 3.5)."""

    def add(self, x: Tensor, positions: Tensor) -> Tensor:
        return x + sinusoids(positions, x.shape[-1]).to(x.dtype)


class LearnedPositions(Positions):
    """One learned vector per position, up to `max_positions`, added to the embedding."""

    def __init__(self, d_model: int, max_positions: int) -> None:
        super().__init__()
        self.table = nn.Embedding(max_positions, d_model)
        nn.init.normal_(self.table.weight, std=0.02)

    def add(self, x: Tensor, positions: Tensor) -> Tensor:
        out: Tensor = x + self.table(positions)
        return out


class RotaryPositions(Positions):
    """Rotary embedding of queries and keys in self-attention (Su et al. 2021)."""

    def __init__(self, head_size: int) -> None:
        super().__init__()
        self.head_size = head_size

    def rotation(self, positions: Tensor, dtype: torch.dtype) -> Tensor | None:
        return rotation(positions, self.head_size, dtype)

    def rotate(self, x: Tensor, rotation: Tensor | None) -> Tensor:
        return x if rotation is None else rotate(x, rotation)


def build_positions(config: ModelConfig, *, added: bool = False) -> Positions:
    """Build the position encoding that `config.positions` selects.

    Args:
        added: the architecture has no queries and keys to rotate; sinusoids replace rotary
            positions.
    """
    kind = config.positions
    if kind == "learned":
        return LearnedPositions(config.d_model, config.max_positions)
    if added or kind == "sinusoidal":
        return SinusoidalPositions()
    return RotaryPositions(config.d_model // config.num_heads)
