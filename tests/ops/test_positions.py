from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from transformer_cli.ops.positions import rotate, rotation, sinusoids


def test_sinusoids_follow_section_3_5() -> None:
    table = sinusoids(torch.arange(50), 16)
    for pos, i in [(0, 0), (7, 3), (49, 7)]:
        angle = pos / 10000 ** (2 * i / 16)
        assert math.isclose(float(table[pos, 2 * i]), math.sin(angle), abs_tol=1e-5)
        assert math.isclose(float(table[pos, 2 * i + 1]), math.cos(angle), abs_tol=1e-5)


def test_rotation_keeps_norms_and_sees_only_distance() -> None:
    q, k = torch.randn(2, 1, 1, 8, dtype=torch.float64)
    at = lambda x, p: rotate(x[None], rotation(torch.tensor([p]), 8, x.dtype))[0]  # noqa: E731
    torch.testing.assert_close(at(q, 11).norm(), q.norm())
    near = (at(q, 3) * at(k, 1)).sum()
    far = (at(q, 103) * at(k, 101)).sum()
    torch.testing.assert_close(near, far, atol=1e-4, rtol=0)
    assert abs(float((at(q, 5) * at(k, 1)).sum() - near)) > 1e-3


def reference_rotate(x: Tensor, positions: Tensor) -> Tensor:
    """RoPE, equation 15, coordinate by coordinate."""
    out = torch.empty_like(x)
    for i in range(x.shape[-1] // 2):
        angle = (positions / 10000 ** (2 * i / x.shape[-1])).unsqueeze(-1)
        first, second = x[..., 2 * i], x[..., 2 * i + 1]
        out[..., 2 * i] = first * angle.cos() - second * angle.sin()
        out[..., 2 * i + 1] = first * angle.sin() + second * angle.cos()
    return out


@pytest.mark.parametrize("complex_numbers", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rotation_equals_the_formula(dtype: torch.dtype, complex_numbers: bool) -> None:
    whole = torch.randn(3, 9, 4, 8, dtype=dtype)
    positions = torch.arange(9)
    turn = rotation(positions, 8, dtype)
    assert turn.is_complex()
    if not complex_numbers:  # as for half precision, and on a GPU
        turn = torch.stack([turn.real, turn.imag])
    x = whole[:, :, 1:3].clone().requires_grad_()  # and a slice of it, as queries are one of a fused product
    grad = torch.randn(3, 9, 2, 8, dtype=dtype)
    (gradient,) = torch.autograd.grad(rotate(x, turn), x, grad)
    expected = reference_rotate(whole[:, :, 1:3], positions)
    torch.testing.assert_close(rotate(whole[:, :, 1:3], turn), expected, atol=2e-6, rtol=1e-6)
    torch.testing.assert_close(gradient, reference_rotate(grad, -positions), atol=2e-6, rtol=1e-6)


def test_half_precision_turns_by_cosines_and_sines() -> None:
    x, positions = torch.randn(9, 2, 8), torch.arange(9)
    turn = rotation(positions, 8, torch.bfloat16)
    assert not turn.is_complex() and turn.dtype == torch.bfloat16
    found = rotate(x.bfloat16(), turn)
    torch.testing.assert_close(found.float(), reference_rotate(x, positions), atol=0.05, rtol=0.05)
