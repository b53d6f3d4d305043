from __future__ import annotations

import pytest
import torch

from transformer_cli.ops.dropout import Dropout, keep_mask


@pytest.mark.parametrize("p", [0.1, 0.15, 0.5, 0.9])
def test_share_and_independence(p: float) -> None:
    mask = keep_mask(1_000_001, p).float()
    deviation = (p * (1 - p) / len(mask)) ** 0.5
    assert abs(float(mask.mean()) - (1 - p)) < 5 * deviation
    for lag in (1, 2, 3, 4, 5, 64):  # four neighbours come from one random word
        both = float((mask[:-lag] * mask[lag:]).mean())
        assert abs(both - (1 - p) ** 2) < 8 * deviation


def test_gradient_uses_the_same_mask_and_scale() -> None:
    x = torch.randn(40, 50, requires_grad=True)
    y = Dropout(0.3)(x)
    (grad,) = torch.autograd.grad(y.sum(), x)
    kept = y != 0
    torch.testing.assert_close(y[kept], x[kept] / 0.7)
    torch.testing.assert_close(grad, kept.float() / 0.7)


def test_off_in_evaluation_and_seeded_in_training() -> None:
    drop, x = Dropout(0.5), torch.ones(1000)
    state = torch.get_rng_state()
    first = drop(x)
    torch.set_rng_state(state)
    assert torch.equal(drop(x), first) and not torch.equal(drop(x), first)
    assert drop.eval()(x) is x
