"""Label-smoothed cross-entropy over flat tokens (Szegedy et al. 2016, section 7; Vaswani section 5.4).

Shapes: N target tokens, D `d_model`, V vocabulary.

The target distribution is (1 - ε) onehot(y) + ε / V, so the loss of a token is

    lse(z) - (1 - ε) z_y - ε mean(z)          with logits z = W h and lse = log Σ exp.

`label_smoothed_cross_entropy` computes loss and gradient in chunks and never materializes the `[N,
V]` logits; the tests compare it with `reference_cross_entropy`. On a GPU in half precision each chunk
uses `ops.fused_cross_entropy`.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from transformer_cli.ops.fused_cross_entropy import cross_entropy_gradient_, supports_fused
from transformer_cli.ops.matmul import matmul_rows
from transformer_cli.runtime import matmul_dtype

CPU_CHUNK_ROWS = 512
"""Rows per chunk: enough for a fast matrix product, and few enough for the logits to stay in the CPU cache."""
GPU_CHUNK_ROWS = 8192


def reference_cross_entropy(
    states: Tensor, weight: Tensor, targets: Tensor, smoothing: float, token_weights: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Reference implementation of `label_smoothed_cross_entropy` with `torch.nn.functional`."""
    token_weights = states.new_ones(len(states)) if token_weights is None else token_weights
    logits = F.linear(states, weight)  # [N, V]
    loss = F.cross_entropy(logits, targets, label_smoothing=smoothing, reduction="none")
    nll = F.cross_entropy(logits.detach(), targets, reduction="none")
    return loss @ token_weights, nll @ token_weights


def label_smoothed_cross_entropy(
    states: Tensor, weight: Tensor, targets: Tensor, smoothing: float, token_weights: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Compute the label-smoothed loss and the negative log-likelihood, each summed over the tokens, in nats.

    Args:
        states: `[N, D]`, the output of the last decoder layer.
        weight: `[V, D]`, the output projection.
        targets: `[N]` int64.
        smoothing: ε.
        token_weights: `[N]`, weight of each token, 0 for padding; None = all 1.

    Returns:
        Two scalars (loss, NLL); only the loss is differentiable.
    """
    loss, nll = _LabelSmoothedCrossEntropy.apply(  # type: ignore[no-untyped-call]
        states, weight, targets, smoothing, token_weights
    )
    return loss, nll


class _LabelSmoothedCrossEntropy(torch.autograd.Function):
    """The gradient with respect to z is softmax(z) - (1 - ε) onehot(y) - ε / V.

    `_sum_losses` adds the last term, which is the same for every row, as a rank-one matrix at the end.
    """

    @staticmethod
    def forward(
        ctx: Any, states: Tensor, weight: Tensor, targets: Tensor, smoothing: float, token_weights: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        dtype = matmul_dtype(states)
        full = torch.promote_types(dtype, torch.float32)  # dtype of softmax and sums
        h, w = matmul_rows(states.detach(), dtype), weight.detach().to(dtype)  # [N', D], [V, D]
        token_weights = states.new_ones(len(states)) if token_weights is None else token_weights
        targets, token_weights = (F.pad(x, (0, len(h) - len(states))) for x in (targets, token_weights.to(full)))
        needs_grad = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        grad_h = torch.empty_like(h) if needs_grad else None
        grad_w = torch.zeros_like(w, dtype=full) if needs_grad else None
        sum_losses = _sum_losses_fused if supports_fused(h) else _sum_losses
        totals = sum_losses(h, w, targets, smoothing, token_weights, grad_h, grad_w)
        if grad_h is not None and grad_w is not None:
            ctx.save_for_backward(grad_h[: len(states)], grad_w)
        nll, smooth = totals.to(full)
        ctx.mark_non_differentiable(nll)
        ctx.dtypes = states.dtype, weight.dtype
        return (1.0 - smoothing) * nll + smoothing * smooth, nll

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        grad_h, grad_w = ctx.saved_tensors
        states_dtype, weight_dtype = ctx.dtypes
        return grad_h.to(states_dtype) * grad, grad_w.to(weight_dtype) * grad, None, None, None


def _sum_losses(
    h: Tensor,
    w: Tensor,
    targets: Tensor,
    smoothing: float,
    token_weights: Tensor,
    grad_h: Tensor | None,
    grad_w: Tensor | None,
) -> Tensor:
    """Σ -log p(y) and Σ -mean log p over the rows of `h` `[N, D]`, weighted: `[2]`.

    `grad_h` `[N, D]` and `grad_w` `[V, D]`, which is zero, are set to the gradients unless they are None.
    """
    on_cpu, dtype, full = h.device.type == "cpu", h.dtype, token_weights.dtype
    mean_w = w.mean(dim=0, dtype=full)
    totals = torch.zeros(2, dtype=torch.float64 if on_cpu else full, device=h.device)
    rows = min(len(h), CPU_CHUNK_ROWS if on_cpu else GPU_CHUNK_ROWS)
    logits, probabilities = (h.new_empty(rows, len(w), dtype=t) for t in (dtype, full))
    for start in range(0, len(h), rows):
        chunk = slice(start, start + rows)
        h_rows, y, row_weights = h[chunk], targets[chunk, None], token_weights[chunk]
        z, p = logits[: len(h_rows)], probabilities[: len(h_rows)]  # [rows, V], reused buffers
        torch.mm(h_rows, w.t(), out=z)
        torch.softmax(z, dim=-1, dtype=full, out=p)
        # The largest p is exp(max z - lse), which never underflows.
        lse = z.amax(dim=-1).to(full) - p.amax(dim=-1).log()
        totals[0] += ((lse - z.gather(1, y).squeeze(1)) * row_weights).sum()
        totals[1] += ((lse - (h_rows * mean_w).sum(dim=-1)) * row_weights).sum()  # mean(z) = h · mean(W)
        if grad_h is None or grad_w is None:
            continue
        p.scatter_add_(1, y, p.new_full((1, 1), smoothing - 1.0).expand_as(y))
        grad_z = p.to(dtype)
        torch.mm(grad_z, w, out=grad_h[chunk]).mul_(row_weights[:, None])
        weighted_h = (h_rows * row_weights[:, None]).to(dtype)
        if dtype == full:
            grad_w.addmm_(grad_z.t(), weighted_h)
        else:  # accumulate in fp32: a bf16 sum would round away the contribution of a chunk
            grad_w += grad_z.t() @ weighted_h
    if grad_h is not None and grad_w is not None:
        grad_h -= (smoothing * token_weights)[:, None] * mean_w
        grad_w -= smoothing / len(w) * (h * token_weights[:, None]).sum(dim=0)
    return totals


def _sum_losses_fused(
    h: Tensor,
    w: Tensor,
    targets: Tensor,
    smoothing: float,
    token_weights: Tensor,
    grad_h: Tensor | None,
    grad_w: Tensor | None,
) -> Tensor:
    """As `_sum_losses`; everything between the matrix products is one kernel."""
    totals = torch.zeros(2, dtype=token_weights.dtype, device=h.device)
    logits = h.new_empty(min(len(h), GPU_CHUNK_ROWS), len(w))
    for start in range(0, len(h), len(logits)):
        chunk = slice(start, start + len(logits))
        z = logits[: len(h[chunk])]
        torch.mm(h[chunk], w.t(), out=z)
        losses = cross_entropy_gradient_(z, targets[chunk], smoothing, token_weights[chunk])
        totals += torch.stack([x.sum() for x in losses])
        if grad_h is not None and grad_w is not None:
            torch.mm(z, w, out=grad_h[chunk])
            grad_w += z.t() @ h[chunk]
    return totals
