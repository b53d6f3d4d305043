"""Muon compared with the singular value decomposition and with the update formula."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from transformer_cli.runtime import matmul_precision
from transformer_cli.training.muon import COEFFICIENTS, UPDATE_RMS, Muon, orthogonalize


def plain_newton_schulz(x: Tensor) -> Tensor:
    """Newton-Schulz iterations as in the paper: X <- a X + b (XXᵀ) X + c (XXᵀ)² X."""
    x = x / x.norm()
    for a, b, c in COEFFICIENTS:
        gram = x @ x.mT
        x = a * x + b * gram @ x + c * gram @ gram @ x
    return x


@pytest.mark.parametrize("shape", [(8, 8), (8, 32), (32, 8), (1, 5)])
def test_singular_values_become_one_and_singular_vectors_stay(shape: tuple[int, int]) -> None:
    x = torch.randn(3, *shape, dtype=torch.float64)
    out = orthogonalize(x)
    assert out.shape == x.shape
    for matrix, result in zip(x, out, strict=True):
        expected = plain_newton_schulz(matrix if shape[0] <= shape[1] else matrix.mT)
        torch.testing.assert_close(result, expected if shape[0] <= shape[1] else expected.mT, rtol=1e-6, atol=1e-6)
        values = torch.linalg.svdvals(result)
        assert values.min() > 0.3 and values.max() < 1.28
        u, _, vh = torch.linalg.svd(matrix, full_matrices=False)
        diagonal = u.mT @ result @ vh.mT
        torch.testing.assert_close(diagonal, torch.diag(diagonal.diagonal()), rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [(64, 64), (64, 256), (256, 64)])
def test_bf16_iterations_are_as_accurate(shape: tuple[int, int]) -> None:
    """For matrices with a few dominant singular values, as is typical of momentum."""
    u, _, vh = torch.linalg.svd(torch.randn(2, *shape), full_matrices=False)
    x = u * torch.logspace(0, -2, min(shape)) @ vh
    with matmul_precision(torch.device("cpu"), "bf16"):
        rounded = orthogonalize(x)
    assert rounded.dtype == torch.float32
    values = [torch.linalg.svdvals(out) for out in (rounded, orthogonalize(x))]
    torch.testing.assert_close(values[0], values[1], rtol=0.05, atol=0.02)


def test_a_zero_gradient_gives_a_zero_update() -> None:
    assert torch.equal(orthogonalize(torch.zeros(1, 4, 4)), torch.zeros(1, 4, 4))


def test_two_steps_equal_the_formula_for_each_fused_map() -> None:
    weight = nn.Parameter(torch.randn(6, 3, dtype=torch.float64))  # two fused maps with 3 outputs each
    expected, momentum = weight.detach().clone(), torch.zeros_like(weight)
    optimizer = Muon([(weight, 2)], lr=0.1, weight_decay=0.5, momentum=0.9)
    for _ in range(2):
        gradient = torch.randn_like(weight)
        weight.grad = gradient.clone()
        optimizer.step()
        momentum = 0.9 * momentum + 0.1 * gradient
        nesterov = 0.1 * gradient + 0.9 * momentum
        update = torch.cat([plain_newton_schulz(block) for block in nesterov.chunk(2)])
        expected = expected * (1 - 0.1 * 0.5) - 0.1 * UPDATE_RMS * 3**0.5 * update
        torch.testing.assert_close(weight.detach(), expected, rtol=1e-6, atol=1e-6)
