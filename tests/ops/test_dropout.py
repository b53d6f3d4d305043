from __future__ import annotations

import pytest
import torch

from transformer_cli.ops.dropout import Dropout, keep_mask


@pytest.mark.parametrize("p", [0.1, 0.15, 0.5, 0.9])
def test_mask_has_the_right_mean_and_independent_elements(p: float) -> None:
    mask = keep_mask(1_000_001, p).float()
    deviation = (p * (1 - p) / len(mask)) ** 0.5
    assert abs(float(mask.mean()) - (1 - p)) < 5 * deviation
    for lag in (1, 2, 3, 4, 5, 64):  # four consecutive elements share one 64-bit draw
        both = float((mask[:-lag] * mask[lag:]).mean())
        assert abs(both - (1 - p) ** 2) < 8 * deviation


def test_gradient_uses_the_same_mask_and_scale() -> None:
    x = torch.randn(40, 50, requires_grad=True)
    y = Dropout(0.3)(x)
    (grad,) = torch.autograd.grad(y.sum(), x)
    mask = y != 0
    torch.testing.assert_close(y[mask], x[mask] / 0.7)
    torch.testing.assert_close(grad, mask.float() / 0.7)


def test_identity_in_evaluation_and_reproducible_in_training() -> None:
    dropout, x = Dropout(0.5), torch.ones(1000)
    state = torch.get_rng_state()
    first = dropout(x)
    torch.set_rng_state(state)
    assert torch.equal(dropout(x), first) and not torch.equal(dropout(x), first)
    assert dropout.eval()(x) is x
