from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from transformer_cli.ops.positions import rotate, rotation, sinusoids


def test_sinusoids_match_section_3_5() -> None:
    table = sinusoids(torch.arange(50), 16)
    for pos, i in [(0, 0), (7, 3), (49, 7)]:
        angle = pos / 10000 ** (2 * i / 16)
        assert math.isclose(float(table[pos, 2 * i]), math.sin(angle), abs_tol=1e-5)
        assert math.isclose(float(table[pos, 2 * i + 1]), math.cos(angle), abs_tol=1e-5)


def test_rotation_preserves_norms_and_depends_only_on_distance() -> None:
    q, k = torch.randn(2, 1, 1, 8, dtype=torch.float64)

    def rotated(x: Tensor, position: int) -> Tensor:
        return rotate(x[None], rotation(torch.tensor([position]), 8, x.dtype))[0]

    torch.testing.assert_close(rotated(q, 11).norm(), q.norm())
    product = (rotated(q, 3) * rotated(k, 1)).sum()
    shifted = (rotated(q, 103) * rotated(k, 101)).sum()
    torch.testing.assert_close(product, shifted, atol=1e-4, rtol=0)
    assert abs(float((rotated(q, 5) * rotated(k, 1)).sum() - product)) > 1e-3


def reference_rotate(x: Tensor, positions: Tensor) -> Tensor:
    """RoPE, equation 15, one pair of coordinates at a time."""
    out = torch.empty_like(x)
    for i in range(x.shape[-1] // 2):
        angle = (positions / 10000 ** (2 * i / x.shape[-1])).unsqueeze(-1)
        first, second = x[..., 2 * i], x[..., 2 * i + 1]
        out[..., 2 * i] = first * angle.cos() - second * angle.sin()
        out[..., 2 * i + 1] = first * angle.sin() + second * angle.cos()
    return out


@pytest.mark.parametrize("use_complex", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rotation_equals_the_formula(dtype: torch.dtype, use_complex: bool) -> None:
    heads = torch.randn(3, 9, 4, 8, dtype=dtype)
    positions = torch.arange(9)
    factors = rotation(positions, 8, dtype)
    assert factors.is_complex()
    if not use_complex:  # as in half precision and on a GPU
        factors = torch.stack([factors.real, factors.imag])
    x = heads[:, :, 1:3].clone().requires_grad_()  # the slice itself is rotated below, as in the fused projection
    grad = torch.randn(3, 9, 2, 8, dtype=dtype)
    (gradient,) = torch.autograd.grad(rotate(x, factors), x, grad)
    expected = reference_rotate(heads[:, :, 1:3], positions)
    torch.testing.assert_close(rotate(heads[:, :, 1:3], factors), expected, atol=2e-6, rtol=1e-6)
    torch.testing.assert_close(gradient, reference_rotate(grad, -positions), atol=2e-6, rtol=1e-6)


def test_half_precision_rotates_by_cosines_and_sines() -> None:
    x, positions = torch.randn(9, 2, 8), torch.arange(9)
    factors = rotation(positions, 8, torch.bfloat16)
    assert not factors.is_complex() and factors.dtype == torch.bfloat16
    rotated = rotate(x.bfloat16(), factors)
    torch.testing.assert_close(rotated.float(), reference_rotate(x, positions), atol=0.05, rtol=0.05)
