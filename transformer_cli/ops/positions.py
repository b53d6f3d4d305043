"""Where a token stands: sinusoids (Vaswani et al. 2017, section 3.5) and rotations (Su et al. 2021).

Both are computed from the positions when they are needed: no table, and no longest sentence.
"""

from __future__ import annotations

import torch
from torch import Tensor

BASE = 10_000.0
"""The wavelengths run from 2π to BASE · 2π."""


def sinusoids(positions: Tensor, d_model: int) -> Tensor:
    """PE(pos, 2i) = sin(pos / 10000^(2i/D)), PE(pos, 2i+1) = cos(the same).

    Args:
        positions: `[...]` integers. d_model: D, even.

    Returns:
        `[..., D]` float32.
    """
    angles = _angles(positions, d_model)  # [..., D / 2]
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2)  # [..., D]


def rotation(positions: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    """What `rotate` turns vectors of `size` K and `dtype` by: `[..., 1, K / 2]` complex numbers of length 1.

    Where the type has none (half precision), and on a GPU: `[2, ..., 1, K / 2]`, cosines and sines.
    """
    angles = _angles(positions, size).unsqueeze(-2)  # [..., 1, K / 2]
    if positions.device.type == "cpu" and dtype in (torch.float32, torch.float64):
        return torch.polar(torch.ones_like(angles, dtype=dtype), angles.to(dtype))
    return torch.stack([angles.cos(), angles.sin()]).to(dtype)


def rotate(x: Tensor, rotation: Tensor) -> Tensor:
    """Turn each pair of coordinates by an angle that grows with the position (RoPE, equation 15).

    The dot product of two rotated vectors depends on the distance of their positions alone.

    Args:
        x: `[..., H, K]` queries or keys, K even. turn: the `rotation` of their positions.

    Returns:
        Like `x`, same norm.
    """
    if rotation.is_complex():
        # A pair of coordinates is a complex number, and turning it a product: one pass instead of seven.
        pairs = torch.view_as_complex(x.view(*x.shape[:-1], -1, 2))  # [..., H, K / 2]
        return torch.view_as_real(pairs * rotation).flatten(-2)
    cos, sin = rotation.to(x.dtype)
    first, second = x[..., 0::2], x[..., 1::2]
    return torch.stack([first * cos - second * sin, first * sin + second * cos], dim=-1).flatten(-2)


def _angles(positions: Tensor, size: int) -> Tensor:
    exponents = torch.arange(0, size, 2, device=positions.device, dtype=torch.float32) / size
    return positions.unsqueeze(-1).float() / BASE**exponents  # [..., size / 2]
