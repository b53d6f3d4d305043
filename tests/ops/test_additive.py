from __future__ import annotations

import math

import torch

from transformer_cli.ops.additive import additive_scores
from transformer_cli.ops.attention import masked_softmax


def test_scores_match_the_formula_of_bahdanau() -> None:
    q, k, v = torch.randn(2, 1, 3, 4), torch.randn(2, 1, 5, 4), torch.randn(1, 4)
    scores = additive_scores(q, k, v)
    for b, t, s in [(0, 0, 0), (1, 2, 4), (0, 1, 3)]:
        expected = sum(float(v[0, i]) * math.tanh(float(q[b, 0, t, i] + k[b, 0, s, i])) for i in range(4))
        assert math.isclose(float(scores[b, 0, t, s]), expected, abs_tol=1e-5)


def test_masked_keys_have_zero_weight() -> None:
    mask = torch.tensor([True, False, True])
    weights = masked_softmax(torch.randn(1, 1, 2, 3), mask)
    assert not weights[..., 1].any()
    torch.testing.assert_close(weights.sum(-1), torch.ones(1, 1, 2))
