from __future__ import annotations

import pytest
import torch
from torch import Tensor

from transformer_cli.runtime import matmul_precision
from transformer_cli.training import loss
from transformer_cli.training.loss import label_smoothed_cross_entropy, reference_cross_entropy


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("tokens", [1, 256, 700])
@pytest.mark.parametrize("padding", [False, True])
def test_chunked_loss_equals_the_reference(smoothing: float, tokens: int, padding: bool) -> None:
    h = torch.randn(tokens, 16, dtype=torch.float64, requires_grad=True)
    w = torch.randn(37, 16, dtype=torch.float64, requires_grad=True)
    y = torch.randint(0, 37, (tokens,))
    token_weights = torch.randint(0, 2, (tokens,)).double() if padding else None
    results = []
    for function in (reference_cross_entropy, label_smoothed_cross_entropy):
        loss, nll = function(h, w, y, smoothing, token_weights)
        results.append((loss, nll, *torch.autograd.grad(loss * 0.3, (h, w))))
    for expected, actual in zip(*results, strict=True):
        torch.testing.assert_close(actual, expected)


def test_loss_equals_the_formula() -> None:
    """The target distribution is (1 - ε) onehot(y) + ε / V."""
    h, w = torch.randn(4, 8, dtype=torch.float64), torch.randn(5, 8, dtype=torch.float64)
    y = torch.tensor([0, 4, 2, 2])
    loss, _ = label_smoothed_cross_entropy(h, w, y, 0.2)
    log_p = (h @ w.t()).log_softmax(-1)
    expected = sum(-0.8 * log_p[i, y[i]] - 0.2 * log_p[i].mean() for i in range(4))
    torch.testing.assert_close(loss, expected)


def test_gradient_passes_gradcheck() -> None:
    h = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    w = torch.randn(6, 4, dtype=torch.float64, requires_grad=True)
    y = torch.tensor([1, 5, 0])
    assert torch.autograd.gradcheck(lambda a, b: label_smoothed_cross_entropy(a, b, y, 0.1)[0], (h, w))


def test_no_gradient_is_computed_unless_required() -> None:
    h, w = torch.randn(3, 4), torch.randn(6, 4)
    loss, nll = label_smoothed_cross_entropy(h, w, torch.tensor([1, 5, 0]), 0.0)
    assert not loss.requires_grad
    torch.testing.assert_close(loss, nll)


@pytest.mark.parametrize("tokens", [50, 1200])
def test_bf16_products_are_summed_in_fp32(tokens: int) -> None:
    h, w = torch.randn(tokens, 16, requires_grad=True), torch.randn(40, 16, requires_grad=True)
    y = torch.randint(0, 40, (tokens,))
    exact, _ = label_smoothed_cross_entropy(h, w, y, 0.1)
    with matmul_precision(torch.device("cpu"), "bf16"):
        rounded, _ = label_smoothed_cross_entropy(h, w, y, 0.1)
    assert rounded.dtype == torch.float32 and rounded != exact
    torch.testing.assert_close(rounded, exact, rtol=2e-2, atol=0)
    for a, b in zip(torch.autograd.grad(exact, (h, w)), torch.autograd.grad(rounded, (h, w)), strict=True):
        assert b.dtype == torch.float32
        assert float((a - b).norm() / a.norm()) < 0.02


def test_padding_has_no_gradient() -> None:
    h = torch.randn(300, 8, requires_grad=True)
    w, y = torch.randn(20, 8), torch.randint(0, 20, (300,))
    token_weights = (torch.arange(300) < 290).float()
    loss, _ = label_smoothed_cross_entropy(h, w, y, 0.1, token_weights)
    (grad,) = torch.autograd.grad(loss, h)
    assert not grad[290:].any() and grad[:290].any(dim=1).all()
    torch.testing.assert_close(loss, label_smoothed_cross_entropy(h[:290], w, y[:290], 0.1)[0])


@pytest.mark.parametrize("tokens", [3, 20])
def test_chunks_with_a_fused_kernel_equal_the_others(tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With torch's operations in place of the kernel, which needs a GPU."""

    def kernel(z: Tensor, targets: Tensor, smoothing: float, weights: Tensor) -> tuple[Tensor, Tensor]:
        log_p = z.log_softmax(dim=-1)
        losses = -log_p.gather(1, targets[:, None]).squeeze(1) * weights, -log_p.mean(dim=-1) * weights
        gradient = log_p.exp() - smoothing / z.shape[1]
        gradient.scatter_add_(1, targets[:, None], torch.full_like(weights[:, None], smoothing - 1.0))
        z.copy_(gradient * weights[:, None])
        return losses

    h = torch.randn(tokens, 8, dtype=torch.float64, requires_grad=True)
    w = torch.randn(30, 8, dtype=torch.float64, requires_grad=True)
    y, weights = torch.randint(0, 30, (tokens,)), torch.rand(tokens, dtype=torch.float64)
    results = []
    for fused in (False, True):
        monkeypatch.setattr(loss, "supports_fused", lambda h, fused=fused: fused)
        monkeypatch.setattr(loss, "cross_entropy_gradient_", kernel)
        monkeypatch.setattr(loss, "GPU_CHUNK_ROWS", 8)
        total, nll = label_smoothed_cross_entropy(h, w, y, 0.1, weights)
        results.append((total, nll, *torch.autograd.grad(total, (h, w))))
    for expected, actual in zip(*results, strict=True):
        torch.testing.assert_close(actual, expected)
