"""Additive attention scores: v · act(q + k) for every pair of a query and a key.

With tanh: Bahdanau et al. 2015, section A.1.2. With LeakyReLU: GATv2 (Brody et al. 2022,
equation 7). The nonlinearity is applied before the product with v, so the ranking of the keys can
depend on the query.

Shapes: B sentences, T query positions, S key positions, H heads, K head size.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def additive_scores(q: Tensor, k: Tensor, v: Tensor, act: Callable[[Tensor], Tensor] = torch.tanh) -> Tensor:
    """Compute the score of each query with each key.

    Args:
        q: `[B, H, T, K]`, projected queries.
        k: `[B, H, S, K]`, projected keys.
        v: `[H, K]`.
        act: the nonlinearity.

    Returns:
        `[B, H, T, S]`.
    """
    pairs = act(q.unsqueeze(3) + k.unsqueeze(2))  # [B, H, T, S, K]
    return torch.einsum("bhtsk,hk->bhts", pairs, v)
