from __future__ import annotations

import math

import torch

from transformer_cli.ops.positions import rotate, sinusoids


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
