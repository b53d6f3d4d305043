"""Dropout (Srivastava et al. 2014) that needs fewer random bits on a CPU.

torch draws one 32-bit random number per element. Here one 64-bit draw covers four elements with 16
bits each, and the backward pass stores one byte per element instead of four. The probability is
rounded to a multiple of 1/65536. The numbers come from torch's default generator: restoring its
state makes a resumed run exact.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEVELS = 1 << 16


def keep_mask(count: int, p: float) -> Tensor:
    """Draw `[count]` independent bools on the CPU, each True with probability 1 - p."""
    words = torch.empty((count + 3) // 4, dtype=torch.int64).random_(-(1 << 63), None)
    threshold = round(p * LEVELS) - LEVELS // 2
    return words.view(torch.int16)[:count] >= threshold


class _MaskedScale(torch.autograd.Function):
    """x · mask · scale; only the bool mask is saved for the backward pass."""

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
    """In training, zero each element with probability p and scale the others by 1 / (1 - p)."""

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
