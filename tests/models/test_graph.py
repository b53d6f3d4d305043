"""Static and dynamic graph attention (Brody et al. 2022, section 3)."""

from __future__ import annotations

import torch

from transformer_cli.layout import Layout
from transformer_cli.models.graph import GraphAttention, GraphEncoder, dynamic_scores, static_scores
from transformer_cli.schema import ModelConfig


def rankings(scores: torch.Tensor) -> set[tuple[int, ...]]:
    """The distinct rankings of the keys over all queries; scores `[1, 1, T, S]`."""
    return {tuple(row.argsort().tolist()) for row in scores[0, 0]}


def test_static_attention_ranks_keys_identically_for_every_query() -> None:
    q, k, a = torch.randn(1, 1, 9, 8), torch.randn(1, 1, 6, 8), torch.randn(1, 8)
    assert len(rankings(static_scores(q, k, a))) == 1
    assert len(rankings(dynamic_scores(q, k, a))) > 1


def fit(scores: object) -> float:
    """Train query i to select key i, the task of section 3.1 of the paper, and return the loss."""
    torch.manual_seed(1)
    nodes, parameters = torch.randn(6, 8), []
    for shape in ((8, 32), (8, 32), (1, 32)):
        parameters.append((torch.randn(shape) * 0.3).requires_grad_())
    optimizer = torch.optim.Adam(parameters, lr=2e-2)
    for _ in range(400):
        q, k = ((nodes @ w)[None, None] for w in parameters[:2])
        loss = torch.nn.functional.cross_entropy(scores(q, k, parameters[2])[0, 0], torch.arange(6))  # type: ignore[operator]
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    return float(loss.detach())


def test_only_dynamic_attention_learns_to_select_keys() -> None:
    assert fit(dynamic_scores) < 0.05
    assert fit(static_scores) > 1.0  # chance level among six keys is log 6 = 1.79


def test_window_limits_the_neighbours() -> None:
    config = ModelConfig(d_model=8, num_heads=2, d_ff=8, encoder_layers=1, decoder_layers=1, dropout=0.0, window=2)
    encoder, layout = GraphEncoder(config).eval(), Layout.padded([9])
    x = torch.randn(1, 9, 8)
    changed = x.clone()
    changed[0, 0] += 1.0
    is_different = (encoder(changed, layout) != encoder(x, layout)).any(dim=-1)[0]
    assert is_different.tolist() == [True] * 3 + [False] * 6


def test_tokens_do_not_attend_to_padding() -> None:
    config = ModelConfig(d_model=8, num_heads=2, d_ff=8, encoder_layers=1, decoder_layers=1, window=1)
    layer = GraphAttention(config, 1.0)
    mask = layer._edge_mask(Layout.padded([3, 5]))
    assert mask is not None
    assert not mask[0, 0, :3, 3:].any() and mask[0, 0].any(dim=-1).all()
