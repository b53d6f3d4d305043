"""AdamW (Loshchilov and Hutter 2019), gradient clipping, and the moving average of the weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from transformer_cli.config import OptimConfig


def build_optimizer(model: nn.Module, config: OptimConfig) -> torch.optim.AdamW:
    """AdamW over all parameters, fused. Only matrices decay: a norm's scale has no reason to shrink."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [g for g in groups if g["params"]], lr=config.lr, betas=config.betas, eps=1e-9, fused=True
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """The rate of the next step, for every group."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def clip_gradient(model: nn.Module, largest: float) -> Tensor:
    """Scale the whole gradient down to norm `largest` (0 = leave it); returns the norm it had."""
    return nn.utils.clip_grad_norm_(model.parameters(), largest if largest > 0 else float("inf"))


class MovingAverage:
    """Exponential moving average of the weights: average ← decay · average + (1 - decay) · weights.

    The decay is smaller in the first steps, min(decay, (1 + step) / (10 + step)), so that the random
    initial weights are soon forgotten.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.average = {name: p.detach().clone() for name, p in model.named_parameters()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take in the weights after `step` updates."""
        decay = min(self.decay, (1 + step) / (10 + step))
        weights = [p.detach() for p in model.parameters()]
        torch._foreach_lerp_(list(self.average.values()), weights, 1.0 - decay)

    @torch.no_grad()
    def swap(self, model: nn.Module) -> None:
        """Exchange average and weights; calling it twice changes nothing."""
        for name, parameter in model.named_parameters():
            held = parameter.detach().clone()
            parameter.copy_(self.average[name])
            self.average[name].copy_(held)
