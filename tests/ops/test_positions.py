from __future__ import annotations

import math

import pytest
import torch

from transformer_cli.ops.positions import reference_rotate, rotate, sinusoids


def test_sinusoids_follow_section_3_5() -> None:
    table = sinusoids(torch.arange(50), 16)
    for pos, i in [(0, 0), (7, 3), (49, 7)]:
        angle = pos / 10000 ** (2 * i / 16)
        assert math.isclose(float(table[pos, 2 * i]), math.sin(angle), abs_tol=1e-5)
        assert math.isclose(float(table[pos, 2 * i + 1]), math.cos(angle), abs_tol=1e-5)


def test_rotation_keeps_norms_and_sees_only_distance() -> None:
    q, k = torch.randn(2, 1, 1, 8, dtype=torch.float64)
    at = lambda x, p: rotate(x[None], torch.tensor([p]))[0]  # noqa: E731
    torch.testing.assert_close(at(q, 11).norm(), q.norm())
    near = (at(q, 3) * at(k, 1)).sum()
    far = (at(q, 103) * at(k, 101)).sum()
    torch.testing.assert_close(near, far, atol=1e-4, rtol=0)
    assert abs(float((at(q, 5) * at(k, 1)).sum() - near)) > 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rotation_as_a_complex_product_equals_the_formula(dtype: torch.dtype) -> None:
    whole = torch.randn(3, 9, 4, 8, dtype=dtype)
    x = whole[:, :, 1:3].clone().requires_grad_()  # and a slice of it, as queries are one of a fused product
    positions, grad = torch.arange(9), torch.randn(3, 9, 2, 8, dtype=dtype)
    results = []
    for turn in (rotate, reference_rotate):
        (gradient,) = torch.autograd.grad(turn(x, positions), x, grad)
        results.append((turn(whole[:, :, 1:3], positions), gradient))
    torch.testing.assert_close(results[0], results[1], atol=1e-6, rtol=1e-6)
