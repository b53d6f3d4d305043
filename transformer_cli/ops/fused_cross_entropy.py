"""Label-smoothed cross-entropy and its gradient in one kernel per row, for a GPU, with Triton.

The same formulas in torch read and write the logits about ten times. Here each row is read twice, the second
time from the cache, and the gradient replaces the logits in place.

Shapes: N rows, V vocabulary.
"""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import Tensor

triton: Any = None
tl: Any = None
_is_loaded = False
BLOCK, WARPS = 2048, 4
"""Logits that a program handles at a time, and its warps: the fastest of four pairs (docs/log.md)."""


def supports_fused(logits: Tensor) -> bool:
    """Whether the kernel can run on logits of this device and dtype."""
    return logits.is_cuda and logits.dtype in (torch.bfloat16, torch.float16) and is_triton_available()


def is_triton_available() -> bool:
    """Whether Triton is installed, which comes with torch for CUDA. It is imported at the first call."""
    global triton, tl, _is_loaded, _kernel
    if not _is_loaded:
        with contextlib.suppress(ImportError):
            import triton
            import triton.language as tl

            _kernel = triton.jit(_cross_entropy)
        _is_loaded = True
    return triton is not None


def cross_entropy_gradient_(
    logits: Tensor, targets: Tensor, smoothing: float, token_weights: Tensor
) -> tuple[Tensor, Tensor]:
    """Replace logits by the gradient of the label-smoothed loss (see `training.loss`); return two losses.

    Args:
        logits: `[N, V]`, contiguous, bf16 or fp16; overwritten by the weighted gradient.
        targets: `[N]` int64.
        smoothing: ε.
        token_weights: `[N]` float32.

    Returns:
        -log p(y) and -mean log p of each row, `[N]` float32 each, weighted.
    """
    assert logits.is_contiguous() and is_triton_available()
    nll, smooth = (torch.empty(len(logits), device=logits.device) for _ in range(2))
    _kernel[(len(logits),)](
        logits, targets, token_weights, nll, smooth, logits.shape[1], smoothing, BLOCK, num_warps=WARPS
    )
    return nll, smooth


# Triton reads this source: only its own annotations, no return type.
def _cross_entropy(z, targets, weights, nll, smooth, vocab: tl.constexpr, smoothing, size: tl.constexpr):  # type: ignore[no-untyped-def]
    """One row: log Σ exp by a running maximum (Milakov and Gimelshein 2018), then the gradient."""
    row = tl.program_id(0)
    z += row.to(tl.int64) * vocab
    target = tl.load(targets + row)
    weight = tl.load(weights + row)
    largest = -float("inf")
    exp_sum = 0.0
    logit_sum = 0.0
    for start in range(0, vocab, size):
        columns = start + tl.arange(0, size)
        x = tl.load(z + columns, mask=columns < vocab, other=-float("inf")).to(tl.float32)
        new_largest = tl.maximum(largest, tl.max(x, 0))
        exp_sum = exp_sum * tl.exp(largest - new_largest) + tl.sum(tl.exp(x - new_largest), 0)
        logit_sum += tl.sum(tl.where(columns < vocab, x, 0.0), 0)
        largest = new_largest
    lse = largest + tl.log(exp_sum)
    tl.store(nll + row, (lse - tl.load(z + target).to(tl.float32)) * weight)
    tl.store(smooth + row, (lse - logit_sum / vocab) * weight)
    for start in range(0, vocab, size):
        columns = start + tl.arange(0, size)
        x = tl.load(z + columns, mask=columns < vocab, other=-float("inf")).to(tl.float32)
        grad = tl.exp(x - lse) - smoothing / vocab - tl.where(columns == target, 1.0 - smoothing, 0.0)
        tl.store(z + columns, (grad * weight).to(z.dtype.element_ty), mask=columns < vocab)


_kernel: Any = None
