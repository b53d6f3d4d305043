"""Graph attention over the sentence: each token is a node and attends to its neighbours
(GAT: Veličković et al. 2018; GATv2: Brody et al. 2022).

Shapes: B sentences, L positions, H heads, K head size, D `d_model`; `[..., D]` is `[B, L, D]` or `[N, D]`.
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

SLOPE = 0.2
"""Of LeakyReLU for negative values, as in both papers."""


def dynamic_scores(q: Tensor, k: Tensor, a: Tensor) -> Tensor:
    """a · LeakyReLU(W [h_i || h_j]) (Brody et al. 2022, equation 7): each query ranks the keys in its own order.

    `W [h_i || h_j]` is `q + k`, its halves applied before: `[B, H, L, K]` each. a: `[H, K]`. -> `[B, H, L, L]`.
    """
    return additive_scores(q, k, a, lambda pairs: F.leaky_relu(pairs, SLOPE))


def static_scores(q: Tensor, k: Tensor, a: Tensor) -> Tensor:
    """LeakyReLU(a · [W h_i || W h_j]) (Veličković et al. 2018, equation 3).

    A sum of a part of the query and a part of the key, under a function that only grows: every query ranks the
    keys alike (Brody et al. 2022, theorem 1).
    """
    of_query, of_key = torch.einsum("bhlk,hk->bhl", q, a), torch.einsum("bhlk,hk->bhl", k, a)
    return F.leaky_relu(of_query.unsqueeze(-1) + of_key.unsqueeze(-2), SLOPE)


SCORES = {"dynamic": dynamic_scores, "static": static_scores}


class GraphAttention(nn.Module):
    """h_i' = Σ_j softmax_j(score(h_i, h_j)) W h_j over the neighbours j of i, with several heads."""

    def __init__(self, config: ModelConfig, gain: float) -> None:
        super().__init__()
        self.num_heads, self.window = config.num_heads, config.window
        self.query_key = Linear(config.d_model, config.d_model, config.d_model)
        self.score = nn.Parameter(torch.randn(config.num_heads, config.d_model // config.num_heads))
        nn.init.xavier_uniform_(self.score)
        self.out = Linear(config.d_model, config.d_model, gain=gain)
        self.scores = SCORES[config.graph_attention]
        self.weights = nn.Identity()  # where they can be watched

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """`[..., D]` -> `[..., D]`."""
        q, k = self.project(layout.pad(x))
        weights = self.weights(masked_softmax(self.scores(q, k, self.score), self._edges(layout)))  # [B, H, L, L]
        heads = weights @ k  # [B, H, L, K]
        out: Tensor = self.out(layout.unpad(heads.transpose(1, 2).flatten(-2)))
        return out

    def project(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`[B, L, D]` -> what each node asks and what it is: `[B, H, L, K]` each."""
        qk = self.query_key(x).unflatten(-1, (2 * self.num_heads, -1)).transpose(1, 2)
        q, k = qk.chunk(2, dim=1)
        return q, k

    def _edges(self, layout: Layout) -> Tensor | None:
        """Who may attend to whom: all to all, or to those at most `window` positions away."""
        tokens = key_mask(layout)
        if not self.window:
            return tokens
        places = torch.arange(layout.max_seqlen, device=layout.lengths.device)
        near = (places[:, None] - places).abs() <= self.window
        # Padding attends to itself, so that its row has a sum.
        return (
            near if tokens is None else near & (tokens | torch.eye(len(places), dtype=torch.bool).to(near.device))
        )


class GraphEncoderLayer(nn.Module):
    """Graph attention, then feed-forward, each in a residual branch."""

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
    """A stack of graph layers. A graph has no order: positions are added to the input."""

    def __init__(self, config: ModelConfig) -> None:
        positions = build_positions(config, added=True)
        super().__init__(config, positions, (GraphEncoderLayer(config) for _ in range(config.encoder_layers)))
