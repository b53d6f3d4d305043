"""Label-smoothed cross-entropy over flat tokens (Szegedy et al. 2016, section 7; Vaswani section 5.4).

Shapes: N target tokens, D `d_model`, V vocabulary.

The target of a token is (1 - ε) on the reference and ε / V on every word, so its loss is

    lse(z) - (1 - ε) z_y - ε mean(z)          with logits z = W h and lse = log Σ exp.

`label_smoothed_cross_entropy` computes loss and gradient chunk by chunk and never holds the `[N, V]` logits; its oracle is
`reference_cross_entropy`.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from transformer_cli.ops.matmul import matmul_rows
from transformer_cli.runtime import matmul_dtype

CPU_ROWS = 512
"""Rows of a chunk: enough for a fast product, and few enough for its logits to stay in a cache."""
GPU_ROWS = 8192


def reference_cross_entropy(
    states: Tensor, weight: Tensor, targets: Tensor, smoothing: float, token_weights: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The same as `label_smoothed_cross_entropy`, written with torch's own parts."""
    token_weights = states.new_ones(len(states)) if token_weights is None else token_weights
    logits = F.linear(states, weight)  # [N, V]
    loss = F.cross_entropy(logits, targets, label_smoothing=smoothing, reduction="none")
    nll = F.cross_entropy(logits.detach(), targets, reduction="none")
    return loss @ token_weights, nll @ token_weights


def label_smoothed_cross_entropy(
    states: Tensor, weight: Tensor, targets: Tensor, smoothing: float, token_weights: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Sum over tokens of the smoothed loss, and of the plain negative log-likelihood, in nats.

    Args:
        states: `[N, D]`, the decoder's last states.
        weight: `[V, D]`, the output projection.
        targets: `[N]` int64.
        smoothing: ε.
        counts: `[N]`, how often each token counts, 0 for one that is filler; None = all once.

    Returns:
        Two scalars; only the first carries a gradient.
    """
    loss, nll = _LabelSmoothedCrossEntropy.apply(  # type: ignore[no-untyped-call]
        states, weight, targets, smoothing, token_weights
    )
    return loss, nll


class _LabelSmoothedCrossEntropy(torch.autograd.Function):
    """The gradient with respect to z is softmax(z) - (1 - ε) onehot(y) - ε / V.

    Its last term is the same for every row, so it is added as a rank-one matrix at the end.
    """

    @staticmethod
    def forward(
        ctx: Any, states: Tensor, weight: Tensor, targets: Tensor, smoothing: float, token_weights: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        device = states.device.type
        dtype = matmul_dtype(states)
        full = torch.promote_types(dtype, torch.float32)  # of softmax and sums
        h, w = matmul_rows(states.detach(), dtype), weight.detach().to(dtype)  # [N', D], [V, D]
        token_weights = states.new_ones(len(states)) if token_weights is None else token_weights
        targets, token_weights = (F.pad(x, (0, len(h) - len(states))) for x in (targets, token_weights.to(full)))
        wants_gradient = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        grad_h = torch.empty_like(h) if wants_gradient else None
        grad_w = torch.zeros_like(w, dtype=full) if wants_gradient else None
        mean_w = w.mean(dim=0, dtype=full)
        sums = torch.float64 if device == "cpu" else full
        totals = torch.zeros(2, dtype=sums, device=h.device)  # Σ -log p(y), Σ -mean log p
        rows = min(len(h), CPU_ROWS if device == "cpu" else GPU_ROWS)
        logits, probabilities = (h.new_empty(rows, len(w), dtype=t) for t in (dtype, full))
        for start in range(0, len(h), rows):
            chunk = slice(start, start + rows)
            h_rows, y, count = h[chunk], targets[chunk, None], token_weights[chunk]
            z, p = logits[: len(h_rows)], probabilities[: len(h_rows)]  # [rows, V], the same memory each time
            torch.mm(h_rows, w.t(), out=z)
            torch.softmax(z, dim=-1, dtype=full, out=p)
            # The largest p is exp(max z - lse), which never underflows.
            lse = z.amax(dim=-1).to(full) - p.amax(dim=-1).log()
            totals[0] += ((lse - z.gather(1, y).squeeze(1)) * count).sum()
            totals[1] += ((lse - (h_rows * mean_w).sum(dim=-1)) * count).sum()  # mean(z) = h · mean(W)
            if grad_h is None or grad_w is None:
                continue
            p.scatter_add_(1, y, p.new_full((1, 1), smoothing - 1.0).expand_as(y))
            grad_z = p.to(dtype)
            torch.mm(grad_z, w, out=grad_h[chunk]).mul_(count[:, None])
            counted = (h_rows * count[:, None]).to(dtype)
            if dtype == full:
                grad_w.addmm_(grad_z.t(), counted)
            else:  # a sum in bf16 would lose what each chunk adds to it
                grad_w += grad_z.t() @ counted
        if grad_h is not None and grad_w is not None:
            grad_h -= (smoothing * token_weights)[:, None] * mean_w
            grad_w -= smoothing / len(w) * (h * token_weights[:, None]).sum(dim=0)
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
