"""Muon against the singular value decomposition and against a step written out."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from transformer_cli.runtime import matmul_precision
from transformer_cli.training.muon import ROUNDS, SCALE, Muon, orthogonalize


def plain_newton_schulz(x: Tensor) -> Tensor:
    """The iterations as they are written: X <- a X + b (XXᵀ) X + c (XXᵀ)² X."""
    x = x / x.norm()
    for a, b, c in ROUNDS:
        gram = x @ x.mT
        x = a * x + b * gram @ x + c * gram @ gram @ x
    return x


@pytest.mark.parametrize("shape", [(8, 8), (8, 32), (32, 8), (1, 5)])
def test_singular_values_come_near_one_and_vectors_stay(shape: tuple[int, int]) -> None:
    x = torch.randn(3, *shape, dtype=torch.float64)
    out = orthogonalize(x)
    assert out.shape == x.shape
    for one, result in zip(x, out, strict=True):
        expected = plain_newton_schulz(one if shape[0] <= shape[1] else one.mT)
        torch.testing.assert_close(result, expected if shape[0] <= shape[1] else expected.mT, rtol=1e-6, atol=1e-6)
        values = torch.linalg.svdvals(result)
        assert values.min() > 0.3 and values.max() < 1.28
        u, _, vh = torch.linalg.svd(one, full_matrices=False)
        diagonal = u.mT @ result @ vh.mT
        torch.testing.assert_close(diagonal, torch.diag(diagonal.diagonal()), rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [(64, 64), (64, 256), (256, 64)])
def test_in_bf16_the_singular_values_come_as_near(shape: tuple[int, int]) -> None:
    """Also of a matrix with a few strong directions, as momentum has them."""
    u, _, vh = torch.linalg.svd(torch.randn(2, *shape), full_matrices=False)
    x = u * torch.logspace(0, -2, min(shape)) @ vh
    with matmul_precision(torch.device("cpu"), "bf16"):
        rounded = orthogonalize(x)
    assert rounded.dtype == torch.float32
    values = [torch.linalg.svdvals(out) for out in (rounded, orthogonalize(x))]
    torch.testing.assert_close(values[0], values[1], rtol=0.05, atol=0.02)


def test_a_zero_gradient_gives_a_zero_update() -> None:
    assert torch.equal(orthogonalize(torch.zeros(1, 4, 4)), torch.zeros(1, 4, 4))


def test_two_steps_by_hand_with_fused_maps_one_by_one() -> None:
    weight = nn.Parameter(torch.randn(6, 3, dtype=torch.float64))  # two maps of 3 outputs
    expected, momentum = weight.detach().clone(), torch.zeros_like(weight)
    optimizer = Muon([(weight, 2)], lr=0.1, weight_decay=0.5, momentum=0.9)
    for _ in range(2):
        gradient = torch.randn_like(weight)
        weight.grad = gradient.clone()
        optimizer.step()
        momentum = 0.9 * momentum + 0.1 * gradient
        ahead = 0.1 * gradient + 0.9 * momentum
        update = torch.cat([plain_newton_schulz(part) for part in ahead.chunk(2)])
        expected = expected * (1 - 0.1 * 0.5) - 0.1 * SCALE * 3**0.5 * update
        torch.testing.assert_close(weight.detach(), expected, rtol=1e-6, atol=1e-6)
