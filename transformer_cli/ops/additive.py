"""Additive scores: v · act(q + k) over all pairs of a query and a key.

With tanh they are those of Bahdanau et al. 2015 (section A.1.2), with LeakyReLU those of GATv2 (Brody et al. 2022,
equation 7): the nonlinearity stands between the pair and v, so each query may rank the keys in its own order.

Shapes: B sentences, T query positions, S key positions, H heads, K head size.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def additive_scores(q: Tensor, k: Tensor, v: Tensor, act: Callable[[Tensor], Tensor] = torch.tanh) -> Tensor:
    """How well each query and each key go together.

    Args:
        q: `[B, H, T, K]`, projected. k: `[B, H, S, K]`, projected. v: `[H, K]`.

    Returns:
        `[B, H, T, S]`.
    """
    pairs = act(q.unsqueeze(3) + k.unsqueeze(2))  # [B, H, T, S, K]
    return torch.einsum("bhtsk,hk->bhts", pairs, v)
