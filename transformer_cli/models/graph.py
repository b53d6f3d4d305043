"""Graph attention over the tokens of a sentence: each token is a node that attends to its
neighbours (GAT: Veličković et al. 2018; GATv2: Brody et al. 2022).

Shapes: B sentences, L positions, H heads, K head size, D `d_model`; `[..., D]` is `[B, L, D]` or
`[N, D]`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transformer_cli.layout import Layout
from transformer_cli.models.layers import (
    LayerStack,
    Linear,
    build_feed_forward,
    build_residual,
    residual_gain,
)
from transformer_cli.models.positions import build_positions
from transformer_cli.ops.additive import additive_scores
from transformer_cli.ops.attention import key_mask, masked_softmax
from transformer_cli.schema import ModelConfig

NEGATIVE_SLOPE = 0.2
"""Negative slope of LeakyReLU, as in both papers."""


def dynamic_scores(q: Tensor, k: Tensor, a: Tensor) -> Tensor:
    """a · LeakyReLU(W [h_i || h_j]) (GATv2: Brody et al. 2022, equation 7).

    The ranking of the keys depends on the query.

    Args:
        q, k: `[B, H, L, K]`, the two halves of W applied to the nodes: `W [h_i || h_j]` is
            `q_i + k_j`.
        a: `[H, K]`.

    Returns:
        `[B, H, L, L]`.
    """
    return additive_scores(q, k, a, lambda pairs: F.leaky_relu(pairs, NEGATIVE_SLOPE))


def static_scores(q: Tensor, k: Tensor, a: Tensor) -> Tensor:
    """LeakyReLU(a · [W h_i || W h_j]) (GAT: Veličković et al. 2018, equation 3).

    A monotonic function of a query term plus a key term: the ranking of the keys is the same for
    every query (Brody et al. 2022, theorem 1). Arguments and result as in `dynamic_scores`.
    """
    query_term, key_term = torch.einsum("bhlk,hk->bhl", q, a), torch.einsum("bhlk,hk->bhl", k, a)
    return F.leaky_relu(query_term.unsqueeze(-1) + key_term.unsqueeze(-2), NEGATIVE_SLOPE)


SCORES = {"dynamic": dynamic_scores, "static": static_scores}


class GraphAttention(nn.Module):
    """Multi-head graph attention: h_i' = Σ_j softmax_j(score(h_i, h_j)) W h_j, j a neighbour of i."""

    def __init__(self, config: ModelConfig, gain: float) -> None:
        super().__init__()
        self.num_heads, self.window = config.num_heads, config.window
        self.query_key = Linear(config.d_model, config.d_model, config.d_model)
        self.score = nn.Parameter(torch.randn(config.num_heads, config.d_model // config.num_heads))
        nn.init.xavier_uniform_(self.score)
        self.out = Linear(config.d_model, config.d_model, gain=gain)
        self.score_function = SCORES[config.graph_attention]
        self.weights = nn.Identity()  # hook point: receives the attention weights

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """`[..., D]` -> `[..., D]`."""
        q, k = self.project(layout.pad(x))
        scores = self.score_function(q, k, self.score)
        weights = self.weights(masked_softmax(scores, self._edge_mask(layout)))  # [B, H, L, L]
        heads = weights @ k  # [B, H, L, K]
        out: Tensor = self.out(layout.unpad(heads.transpose(1, 2).flatten(-2)))
        return out

    def project(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`[B, L, D]` -> queries, and keys that are also the values: `[B, H, L, K]` each."""
        qk = self.query_key(x).unflatten(-1, (2 * self.num_heads, -1)).transpose(1, 2)
        q, k = qk.chunk(2, dim=1)
        return q, k

    def _edge_mask(self, layout: Layout) -> Tensor | None:
        """Mask of the neighbours of each node: all tokens, or those at most `window` positions away."""
        tokens = key_mask(layout)
        if not self.window:
            return tokens
        positions = torch.arange(layout.max_seqlen, device=layout.lengths.device)
        in_window = (positions[:, None] - positions).abs() <= self.window
        if tokens is None:
            return in_window
        # Padding attends to itself: the softmax of a fully masked row is NaN.
        return in_window & (tokens | torch.eye(len(positions), dtype=torch.bool).to(in_window.device))


class GraphEncoderLayer(nn.Module):
    """Graph attention and feed-forward network, each in a residual branch."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        c, gain = config, residual_gain(config.norm, config.encoder_layers)
        self.self_attention = GraphAttention(c, gain)
        self.feed_forward = build_feed_forward(c.activation, c.d_model, c.d_ff, gain)
        self.self_residual = build_residual(c.norm, c.norm_type, c.d_model, c.dropout)
        self.feed_residual = build_residual(c.norm, c.norm_type, c.d_model, c.dropout)

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        x = self.self_residual(x, lambda h: self.self_attention(h, layout))
        x = self.feed_residual(x, self.feed_forward)
        return x


class GraphEncoder(LayerStack):
    """A stack of graph attention layers. Graph nodes are unordered: positions are added to the input."""

    def __init__(self, config: ModelConfig) -> None:
        positions = build_positions(config, added=True)
        super().__init__(config, positions, (GraphEncoderLayer(config) for _ in range(config.encoder_layers)))
