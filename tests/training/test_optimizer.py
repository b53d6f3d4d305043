from __future__ import annotations

import pytest
import torch
from conftest import TINY_RUN
from torch import nn

from transformer_cli.config import load_config
from transformer_cli.models.registry import build_model
from transformer_cli.schema import OptimConfig
from transformer_cli.training.optimizer import MovingAverage, build_optimizer, clip_gradient, set_learning_rate


def test_weight_decay_applies_only_to_matrices() -> None:
    model = nn.Sequential(nn.Linear(3, 4, bias=False), nn.LayerNorm(4, bias=False))
    groups = build_optimizer(model, OptimConfig(weight_decay=0.5)).param_groups
    assert [(g["weight_decay"], [p.ndim for p in g["params"]]) for g in groups] == [(0.5, [2]), (0.0, [1])]


def test_clipping_scales_to_max_norm_and_zero_disables_it() -> None:
    model = nn.Linear(3, 1, bias=False)
    for max_norm, expected in ((1.0, 1.0), (0.0, 5.0), (10.0, 5.0)):
        model.weight.grad = torch.tensor([[3.0, 4.0, 0.0]])
        assert float(clip_gradient(model, max_norm)) == 5.0
        torch.testing.assert_close(float(model.weight.grad.norm()), expected, rtol=1e-5, atol=0)


def test_moving_average_equals_the_formula_and_swaps() -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 1.0)
    average = MovingAverage(model, 0.9)
    nn.init.constant_(model.weight, 2.0)
    average.update(model, average.update_weight(1000))  # late enough for the full decay
    torch.testing.assert_close(average.average["weight"], torch.tensor([[1.1]]))
    average.swap(model)
    torch.testing.assert_close(model.weight.detach(), torch.tensor([[1.1]]))
    average.swap(model)
    torch.testing.assert_close(model.weight.detach(), torch.tensor([[2.0]]))


def test_muon_updates_linear_layers_and_adamw_all_other_parameters() -> None:
    model = build_model(load_config(None, TINY_RUN).model, 20, 20)
    optimizers = build_optimizer(model, OptimConfig(algorithm="muon"))
    muon, adamw = optimizers.optimizers
    maps = {id(p) for group in muon.param_groups for p in group["params"]}
    rest = {id(p) for group in adamw.param_groups for p in group["params"]}
    names = {id(p): name for name, p in model.named_parameters()}
    assert maps | rest == set(names) and not maps & rest
    assert {names[p] for p in rest} == {n for n in names.values() if "norm" in n or "embedding" in n}


@pytest.mark.parametrize("algorithm", ["adamw", "muon"])
def test_a_tensor_learning_rate_is_set_in_place(algorithm: str) -> None:
    """On CUDA a captured graph reads the learning rate from this tensor."""
    models = [build_model(load_config(None, TINY_RUN).model, 20, 20) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    with_float, with_tensor = (build_optimizer(m, OptimConfig(algorithm=algorithm)) for m in models)  # type: ignore[arg-type]
    rates = [torch.tensor(1.0) for _ in with_tensor.param_groups]
    for group, rate in zip(with_tensor.param_groups, rates, strict=True):
        group["lr"] = rate
    for step in range(3):
        for model, optimizer in zip(models, (with_float, with_tensor), strict=True):
            for i, p in enumerate(model.parameters()):
                p.grad = torch.full_like(p, 0.1 * (i + step)) + p.detach()
            set_learning_rate(optimizer, 1e-3 * (step + 1))
            optimizer.step()
    assert all(float(rate) == pytest.approx(3e-3) for rate in rates)
    for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
