"""Linear maps in the precision set by `runtime.matmul_precision`.

Shapes: activations `[..., I]` with N rows, weights `[O, I]`; N' is N, rounded up on a CPU in bf16.

torch's autocast also runs attention in bf16, whose backward pass on a CPU takes six times as long
as in fp32. Here only the matrix products run in bf16: activations, weights and gradients are
rounded when they enter a product, and all other operations keep their type.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from transformer_cli.runtime import matmul_dtype, uses_cpu_bf16

ROW_MULTIPLE = 256
"""In bf16 on a CPU the number of rows is rounded up to a multiple of this: oneDNN compiles a kernel
for each shape and caches it, 0.6 MB each."""


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """x Wᵀ: `[..., I]`, `[O, I]` -> `[..., O]`. On a CPU the result has the dtype of x."""
    if not uses_cpu_bf16(x):
        return F.linear(x, weight)
    out: Tensor = _Bf16Linear.apply(x, weight, matmul_dtype(x))  # type: ignore[no-untyped-call]
    return out


def matmul_rows(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Convert `[..., I]` to `[N', I]` in `dtype` as the input of a product; rows after the first N are zeros."""
    if x.device.type != "cpu" or dtype == x.dtype:
        return x.reshape(-1, x.shape[-1]).to(dtype)
    count = x.shape[:-1].numel()
    rows = x.new_empty(-(-count // ROW_MULTIPLE) * ROW_MULTIPLE, x.shape[-1], dtype=dtype)
    rows[:count].view(x.shape).copy_(x)
    rows[count:].zero_()
    return rows


class _Bf16Linear(torch.autograd.Function):
    """bf16 products, accumulated in fp32 (Micikevicius et al. 2018, section 3.3)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, dtype: torch.dtype) -> Tensor:
        rows, w = matmul_rows(x, dtype), weight.to(dtype)
        ctx.save_for_backward(rows, w)
        ctx.shape, ctx.x_dtype, ctx.weight_dtype = x.shape, x.dtype, weight.dtype
        return _reshape_rows(rows @ w.t(), x.shape, x.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        rows, w = ctx.saved_tensors
        grad_rows = matmul_rows(grad, rows.dtype)  # [N', O]
        needs_x, needs_weight, _ = ctx.needs_input_grad
        grad_x = _reshape_rows(grad_rows @ w, ctx.shape, ctx.x_dtype) if needs_x else None
        grad_weight = (grad_rows.t() @ rows).to(ctx.weight_dtype) if needs_weight else None
        return grad_x, grad_weight, None


def _reshape_rows(rows: Tensor, shape: torch.Size, dtype: torch.dtype) -> Tensor:
    """`[N', O]` -> `[..., O]` for activations of this shape, `[..., I]`, in `dtype`."""
    return rows[: shape[:-1].numel()].to(dtype).view(*shape[:-1], rows.shape[1])
