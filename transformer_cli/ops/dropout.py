"""Dropout (Srivastava et al. 2014) with cheap random bits on a CPU.

torch draws one 32-bit random number an element; here one 64-bit draw serves four elements, 16 bits each, and
the backward pass keeps one byte an element instead of four. The probability is rounded to 1/65536.
The draws come from torch's default generator, so saving its state makes a resumed run exact.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEVELS = 1 << 16


def keep_mask(count: int, p: float) -> Tensor:
    """`[count]` bool on the CPU, each True with probability 1 - p, independently."""
    words = torch.empty((count + 3) // 4, dtype=torch.int64).random_(-(1 << 63), None)
    threshold = round(p * LEVELS) - LEVELS // 2
    return words.view(torch.int16)[:count] >= threshold


class _MaskedScale(torch.autograd.Function):
    """x · mask · scale, keeping only the boolean mask for the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mask: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(mask)
        ctx.scale = scale
        return x.mul(mask).mul_(scale)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (mask,) = ctx.saved_tensors
        return grad.mul(mask).mul_(ctx.scale), None, None


class Dropout(nn.Module):
    """Zero each element with probability p while training; scale the rest by 1 / (1 - p)."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0.0:
            return x
        if x.device.type != "cpu":
            return F.dropout(x, self.p)
        mask = keep_mask(x.numel(), self.p).view(x.shape)
        dropped: Tensor = _MaskedScale.apply(x, mask, 1.0 / (1.0 - self.p))  # type: ignore[no-untyped-call]
        return dropped

    def extra_repr(self) -> str:
        return f"p={self.p}"
