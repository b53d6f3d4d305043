"""Muon (Jordan et al. 2024): momentum whose matrix is made orthogonal before it is applied.

Adam scales each weight by itself; a matrix of weights is better scaled by its singular values: all directions
of the momentum that are there get the same length. The nearest orthogonal matrix UVᵀ of M = UΣVᵀ is found
by Newton-Schulz iterations, which are matrix products only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from transformer_cli.runtime import matmul_dtype

ROUNDS = ((8.0934, -23.6204, 17.4462), (3.6366, -2.7219, 0.5365), (2.6613, -1.9772, 0.4526))
"""Of each round (a, b, c): s -> a s + b s³ + c s⁵. Each is the polynomial nearest to 1 (Remez) on the range that
the one before leaves, so that three rounds bring [0.01, 1] to [0.73, 1.27] (the scheme of Amsel et al. 2025);
the one polynomial of Jordan et al. needs five for the same."""
SCALE = 0.4
"""Root mean square of an update over its rate, about that of Adam: one rate suits both (Liu et al. 2025)."""


def orthogonalize(matrices: Tensor) -> Tensor:
    """`[n, R, C]` -> the same singular vectors, all singular values near 1.

    The products are done in the type that `runtime.matmul_precision` asks for.
    """
    if matrices.shape[-2] > matrices.shape[-1]:
        return orthogonalize(matrices.mT).mT
    x = matrices / matrices.norm(dim=(-2, -1), keepdim=True).clamp_min(1e-12)
    rounded = x.to(matmul_dtype(x))
    wide = x.shape[-1] > 1.5 * x.shape[-2]  # then the Gram space takes fewer multiplications
    return (_in_gram_space(rounded) if wide and rounded.dtype == x.dtype else _in_place(rounded)).to(x.dtype)


def _in_place(x: Tensor) -> Tensor:
    """X -> (a I + b G + c G²) X with G = X Xᵀ, round by round: what bf16 rounds off, the next round mends."""
    for coefficients in ROUNDS:
        x = _factor(x @ x.mT, *coefficients) @ x
    return x


def _in_gram_space(x: Tensor) -> Tensor:
    """The polynomials are multiplied up as s x s matrices: X is touched at the beginning and at the end only."""
    gram = x @ x.mT  # [n, s, s]
    product = _factor(gram, *ROUNDS[0])
    last = product
    for coefficients in ROUNDS[1:]:
        gram = last @ gram @ last  # polynomials of one matrix commute
        last = _factor(gram, *coefficients)
        product = last @ product
    return product @ x


def _factor(gram: Tensor, a: float, b: float, c: float) -> Tensor:
    """a I + b G + c G²."""
    factor = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
    factor.diagonal(dim1=-2, dim2=-1).add_(a)
    return factor


class Muon(torch.optim.Optimizer):
    """Steps along the orthogonalised momentum; decoupled weight decay as in AdamW."""

    def __init__(
        self,
        matrices: Iterable[tuple[Tensor, int]],
        *,
        lr: float | Tensor,
        weight_decay: float,
        momentum: float = 0.95,
    ) -> None:
        """`matrices`: `[R, C]` weights, and of how many maps, stacked by rows, each is made."""
        pairs = list(matrices)
        self.blocks = dict(pairs)
        super().__init__([p for p, _ in pairs], dict(lr=lr, weight_decay=weight_decay, momentum=momentum))

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update from the gradients. `closure` is refused: nothing here evaluates the model again.

        Where the attribute `found_inf`, a scalar on the device, is set and not 0, nothing changes.
        """
        assert closure is None
        found_inf: Tensor | None = getattr(self, "found_inf", None)
        for group in self.param_groups:
            parameters: list[Tensor] = group["params"]
            rate: float | Tensor = group["lr"]
            gradients = [p.grad for p in parameters if p.grad is not None]
            assert len(gradients) == len(parameters), "every matrix has a gradient"
            momenta = [self._momentum(p) for p in parameters]
            if found_inf is not None:  # the momentum for a gradient, and no rate: neither of them changes
                rate = rate * (found_inf == 0)
                gradients = [torch.where(found_inf == 0, g, m) for g, m in zip(gradients, momenta, strict=True)]
            torch._foreach_lerp_(momenta, gradients, 1.0 - group["momentum"])
            ahead = torch._foreach_lerp(gradients, momenta, group["momentum"])  # Nesterov
            torch._foreach_mul_(parameters, 1.0 - rate * group["weight_decay"])
            for update, parameter in zip(self._orthogonal(parameters, ahead), parameters, strict=True):
                if isinstance(rate, Tensor):
                    parameter.sub_(update * rate)
                else:
                    parameter.add_(update, alpha=-rate)

    def _momentum(self, parameter: Tensor) -> Tensor:
        state: dict[str, Tensor] = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(parameter)
        return state["momentum"]

    def _orthogonal(self, parameters: Sequence[Tensor], updates: Sequence[Tensor]) -> list[Tensor]:
        """Like `updates`; matrices of one shape go through the iterations together."""
        maps = [u.view(self.blocks[p], -1, u.shape[1]) for p, u in zip(parameters, updates, strict=True)]
        by_shape: dict[torch.Size, list[int]] = {}
        for i, stacked in enumerate(maps):  # [blocks, R / blocks, C]
            by_shape.setdefault(stacked.shape[1:], []).append(i)
        done: dict[int, Tensor] = {}
        for (rows, columns), members in by_shape.items():
            batch = orthogonalize(torch.cat([maps[i] for i in members])) * (SCALE * max(rows, columns) ** 0.5)
            for i, part in zip(members, batch.split([len(maps[i]) for i in members]), strict=True):
                done[i] = part.flatten(0, 1)
        return [done[i] for i in range(len(updates))]
