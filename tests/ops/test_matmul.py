from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from transformer_cli.ops.matmul import linear
from transformer_cli.runtime import matmul_precision

CPU = torch.device("cpu")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_torch_linear_outside_bf16(dtype: torch.dtype) -> None:
    x, w = torch.randn(2, 5, 8, dtype=dtype), torch.randn(6, 8, dtype=dtype)
    assert torch.equal(linear(x, w), F.linear(x, w))


def test_float64_is_never_rounded() -> None:
    x, w = torch.randn(5, 8, dtype=torch.float64), torch.randn(6, 8, dtype=torch.float64)
    with matmul_precision(CPU, "bf16"):
        assert torch.equal(linear(x, w), F.linear(x, w))


@pytest.mark.parametrize("shape", [(5, 32), (2, 7, 32), (0, 32)])
def test_bf16_products_equal_exact_products_of_rounded_matrices(shape: tuple[int, ...]) -> None:
    """The reference multiplies the same bf16 matrices in float64; only the result is rounded once more."""
    x, w = torch.randn(shape, requires_grad=True), torch.randn(48, 32, requires_grad=True)
    with matmul_precision(CPU, "bf16"):
        out = linear(x, w)
    grad = torch.randn_like(out)
    grad_x, grad_w = torch.autograd.grad(out, (x, w), grad)
    rounded_x, rounded_w, rounded_grad = (t.detach().bfloat16().double() for t in (x, w, grad))
    exact = (
        rounded_x @ rounded_w.t(),
        rounded_grad @ rounded_w,
        rounded_grad.reshape(-1, 48).t() @ rounded_x.reshape(-1, 32),
    )
    for result, expected in zip((out, grad_x, grad_w), exact, strict=True):
        assert result.dtype == torch.float32
        torch.testing.assert_close(result.double(), expected, rtol=2**-8, atol=1e-4)
    assert out.numel() == 0 or not torch.equal(out, F.linear(x, w))


def test_computes_only_the_required_gradient() -> None:
    x, w = torch.randn(5, 8), torch.randn(6, 8, requires_grad=True)
    with matmul_precision(CPU, "bf16"):
        linear(x, w).sum().backward()
    assert x.grad is None and w.grad is not None
