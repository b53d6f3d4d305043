"""The Muon optimizer (Jordan et al. 2024): momentum that is orthogonalized before it is applied.

Adam scales each weight individually. Muon scales a weight matrix by its singular values, so that all
directions of the momentum M = UΣVᵀ get the same length. The nearest orthogonal matrix UVᵀ is computed
by Newton-Schulz iterations, which consist of matrix products only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from transformer_cli.runtime import matmul_dtype

COEFFICIENTS = ((8.0934, -23.6204, 17.4462), (3.6366, -2.7219, 0.5365), (2.6613, -1.9772, 0.4526))
"""(a, b, c) of each iteration s -> a s + b s³ + c s⁵. Each polynomial is the best approximation of 1
(Remez) on the range of the previous one, so that three iterations map [0.01, 1] to [0.73, 1.27] (the
scheme of Amsel et al. 2025); the single polynomial of Jordan et al. needs five iterations for the
same."""
UPDATE_RMS = 0.4
"""Root mean square of an update with learning rate 1. It is close to that of Adam, so that both
optimizers can share one learning rate (Liu et al. 2025)."""


def orthogonalize(matrices: Tensor) -> Tensor:
    """Orthogonalize `[n, R, C]`: the singular vectors stay the same, all singular values become close to 1.

    The matrix products use the precision set by `runtime.matmul_precision`.
    """
    if matrices.shape[-2] > matrices.shape[-1]:
        return orthogonalize(matrices.mT).mT
    x = matrices / matrices.norm(dim=(-2, -1), keepdim=True).clamp_min(1e-12)
    rounded = x.to(matmul_dtype(x))
    wide = x.shape[-1] > 1.5 * x.shape[-2]  # then the Gram matrix needs fewer multiplications
    iterate = _newton_schulz_gram if wide and rounded.dtype == x.dtype else _newton_schulz
    return iterate(rounded).to(x.dtype)


def _newton_schulz(x: Tensor) -> Tensor:
    """Iterate X <- (a I + b G + c G²) X with G = X Xᵀ; each iteration corrects the bf16 rounding of the last."""
    for coefficients in COEFFICIENTS:
        x = _polynomial(x @ x.mT, *coefficients) @ x
    return x


def _newton_schulz_gram(x: Tensor) -> Tensor:
    """Multiply the polynomials of all iterations as R x R matrices, and apply the product to X once."""
    gram = x @ x.mT  # [n, R, R]
    product = _polynomial(gram, *COEFFICIENTS[0])
    factor = product
    for coefficients in COEFFICIENTS[1:]:
        gram = factor @ gram @ factor  # polynomials of the same matrix commute
        factor = _polynomial(gram, *coefficients)
        product = factor @ product
    return product @ x


def _polynomial(gram: Tensor, a: float, b: float, c: float) -> Tensor:
    """a I + b G + c G²."""
    result = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
    result.diagonal(dim1=-2, dim2=-1).add_(a)
    return result


class Muon(torch.optim.Optimizer):
    """Applies the orthogonalized momentum, with decoupled weight decay as in AdamW."""

    def __init__(
        self,
        matrices: Iterable[tuple[Tensor, int]],
        *,
        lr: float | Tensor,
        weight_decay: float,
        momentum: float = 0.95,
    ) -> None:
        """`matrices`: pairs of a weight `[R, C]` and the number of linear maps that are stacked in its rows."""
        pairs = list(matrices)
        self.blocks = dict(pairs)
        super().__init__([p for p, _ in pairs], dict(lr=lr, weight_decay=weight_decay, momentum=momentum))

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Run one update. `closure` is not supported.

        If the attribute `found_inf`, a scalar on the device, is set and not 0, nothing changes.
        """
        assert closure is None
        found_inf: Tensor | None = getattr(self, "found_inf", None)
        for group in self.param_groups:
            parameters: list[Tensor] = group["params"]
            lr: float | Tensor = group["lr"]
            gradients = [p.grad for p in parameters if p.grad is not None]
            assert len(gradients) == len(parameters), "every matrix must have a gradient"
            momenta = [self._momentum(p) for p in parameters]
            if found_inf is not None:  # with gradient = momentum and lr = 0 neither momentum nor weights change
                lr = lr * (found_inf == 0)
                gradients = [torch.where(found_inf == 0, g, m) for g, m in zip(gradients, momenta, strict=True)]
            torch._foreach_lerp_(momenta, gradients, 1.0 - group["momentum"])
            updates = torch._foreach_lerp(gradients, momenta, group["momentum"])  # Nesterov
            torch._foreach_mul_(parameters, 1.0 - lr * group["weight_decay"])
            for update, parameter in zip(self._orthogonalize(parameters, updates), parameters, strict=True):
                if isinstance(lr, Tensor):
                    parameter.sub_(update * lr)
                else:
                    parameter.add_(update, alpha=-lr)

    def _momentum(self, parameter: Tensor) -> Tensor:
        state: dict[str, Tensor] = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(parameter)
        return state["momentum"]

    def _orthogonalize(self, parameters: Sequence[Tensor], updates: Sequence[Tensor]) -> list[Tensor]:
        """Orthogonalize the updates of all parameters; matrices of equal shape are batched."""
        maps = [u.view(self.blocks[p], -1, u.shape[1]) for p, u in zip(parameters, updates, strict=True)]
        by_shape: dict[torch.Size, list[int]] = {}
        for i, stacked in enumerate(maps):  # [blocks, R / blocks, C]
            by_shape.setdefault(stacked.shape[1:], []).append(i)
        results: dict[int, Tensor] = {}
        for (rows, columns), indices in by_shape.items():
            batch = orthogonalize(torch.cat([maps[i] for i in indices])) * (UPDATE_RMS * max(rows, columns) ** 0.5)
            for i, blocks in zip(indices, batch.split([len(maps[i]) for i in indices]), strict=True):
                results[i] = blocks.flatten(0, 1)  # [R, C]
        return [results[i] for i in range(len(updates))]
