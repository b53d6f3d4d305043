"""The product of activations and weights, in the type that `runtime.matmul_precision` asks for.

Shapes: `[..., I]` activations, N of them; `[O, I]` weights; N' is N, or more where products want it so.

torch's autocast turns attention, too, to bf16, whose backward pass on a CPU takes six times that of fp32. Here
only the products change their type: activations, weights and gradients are rounded as they enter one, and
everything between two products stays as it is.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from transformer_cli.runtime import matmul_dtype, uses_cpu_bf16

ROWS = 256
"""In bf16 a CPU gets multiples of so many rows: it compiles a product for each shape, and keeps 0.6 MB of it."""


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """x Wᵀ: `[..., I]`, `[O, I]` -> `[..., O]`; on a CPU the result has the type of x."""
    if not uses_cpu_bf16(x):
        return F.linear(x, weight)
    out: Tensor = _Bf16Linear.apply(x, weight, matmul_dtype(x))  # type: ignore[no-untyped-call]
    return out


def matmul_rows(x: Tensor, dtype: torch.dtype) -> Tensor:
    """`[..., I]` -> `[N', I]` in that type, as a product reads it: after the N rows may come some of zeros."""
    if x.device.type != "cpu" or dtype == x.dtype:
        return x.reshape(-1, x.shape[-1]).to(dtype)
    count = x.shape[:-1].numel()
    rows = x.new_empty(-(-count // ROWS) * ROWS, x.shape[-1], dtype=dtype)
    rows[:count].view(x.shape).copy_(x)
    rows[count:].zero_()
    return rows


class _Bf16Linear(torch.autograd.Function):
    """Three products of rounded matrices, summed in fp32 (Micikevicius et al. 2018, section 3.3)."""

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
        wants_x, wants_weight, _ = ctx.needs_input_grad
        grad_x = _reshape_rows(grad_rows @ w, ctx.shape, ctx.x_dtype) if wants_x else None
        grad_weight = (grad_rows.t() @ rows).to(ctx.weight_dtype) if wants_weight else None
        return grad_x, grad_weight, None


def _reshape_rows(rows: Tensor, shape: torch.Size, dtype: torch.dtype) -> Tensor:
    """`[N', O]` -> `[..., O]` like the activations of that shape, in that type."""
    return rows[: shape[:-1].numel()].to(dtype).view(*shape[:-1], rows.shape[1])
