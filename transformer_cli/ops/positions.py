"""Position encodings: sinusoids (Vaswani et al. 2017, section 3.5) and rotary embeddings (Su et al. 2021).

Both are computed from the positions on demand: there is no table and no maximum length.
"""

from __future__ import annotations

import torch
from torch import Tensor

BASE = 10_000.0
"""The wavelengths range from 2π to BASE · 2π."""


def sinusoids(positions: Tensor, d_model: int) -> Tensor:
    """PE(pos, 2i) = sin(pos / 10000^(2i/D)), PE(pos, 2i+1) = cos(pos / 10000^(2i/D)).

    Args:
        positions: `[...]` integers.
        d_model: D, even.

    Returns:
        `[..., D]` float32.
    """
    angles = _angles(positions, d_model)  # [..., D / 2]
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2)  # [..., D]


def rotation(positions: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    """Compute the rotations that `rotate` applies to vectors of size K and type `dtype`.

    Args:
        positions: `[...]` integers.
        size: K, even.

    Returns:
        On a CPU in single or double precision complex numbers `[..., 1, K / 2]` of absolute value
        1; otherwise their cosines and sines, `[2, ..., 1, K / 2]`.
    """
    angles = _angles(positions, size).unsqueeze(-2)  # [..., 1, K / 2]
    if positions.device.type == "cpu" and dtype in (torch.float32, torch.float64):
        return torch.polar(torch.ones_like(angles, dtype=dtype), angles.to(dtype))
    return torch.stack([angles.cos(), angles.sin()]).to(dtype)


def rotate(x: Tensor, rotation: Tensor) -> Tensor:
    """Rotate each pair of coordinates by an angle proportional to the position (RoPE, equation 15).

    For a given pair of vectors, the dot product of the rotated vectors depends only on the distance
    of the positions.

    Args:
        x: `[..., H, K]`, queries or keys, K even.
        rotation: result of `rotation` for their positions.

    Returns:
        Same shape and norm as `x`.
    """
    if rotation.is_complex():
        # As complex numbers, pairs are rotated by one multiplication: one pass over memory instead of seven.
        pairs = torch.view_as_complex(x.view(*x.shape[:-1], -1, 2))  # [..., H, K / 2]
        return torch.view_as_real(pairs * rotation).flatten(-2)
    cos, sin = rotation.to(x.dtype)
    first, second = x[..., 0::2], x[..., 1::2]
    return torch.stack([first * cos - second * sin, first * sin + second * cos], dim=-1).flatten(-2)


def _angles(positions: Tensor, size: int) -> Tensor:
    exponents = torch.arange(0, size, 2, device=positions.device, dtype=torch.float32) / size
    return positions.unsqueeze(-1).float() / BASE**exponents  # [..., size / 2]
