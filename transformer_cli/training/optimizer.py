"""Optimizers, gradient clipping, and the moving average of the weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from transformer_cli.models.layers import Linear
from transformer_cli.schema import OptimConfig
from transformer_cli.training.muon import Muon


class Optimizers:
    """Several optimizers over disjoint parameters, with the interface of one."""

    def __init__(self, *optimizers: torch.optim.Optimizer) -> None:
        self.optimizers = optimizers
        self._owner = {p: o for o in optimizers for group in o.param_groups for p in group["params"]}

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return [group for optimizer in self.optimizers for group in optimizer.param_groups]

    def step(self, found_inf: Tensor | None = None) -> None:
        """Run one step of each optimizer. If `found_inf`, a scalar on the device, is not 0, nothing changes.

        The optimizers of torch read an attribute of this name on the device, without synchronization.
        """
        for optimizer in self.optimizers:
            optimizer.found_inf = found_inf  # type: ignore[attr-defined]
            optimizer.step()

    def state_of(self, parameter: Tensor) -> dict[str, Tensor]:
        """Optimizer state (moments, step count) of one parameter; empty before the first step."""
        state: dict[str, Tensor] = self._owner[parameter].state[parameter]
        return state


def build_optimizer(model: nn.Module, config: OptimConfig) -> Optimizers:
    """Build AdamW (Loshchilov and Hutter 2019) for all parameters, or Muon for linear maps and AdamW for the rest.

    Weight decay applies only to matrices, not to the scales of norms. On CUDA the learning rate is a
    tensor, so that a captured graph reads the value set by the schedule.
    """
    device = next(model.parameters()).device
    on_cuda = device.type == "cuda"
    lr = torch.tensor(config.lr, device=device) if on_cuda else config.lr
    maps = {m.weight: m.blocks for m in model.modules() if isinstance(m, Linear) and m.weight.requires_grad}
    if config.algorithm == "adamw":
        maps = {}
    rest = [p for p in model.parameters() if p.requires_grad and p not in maps]
    groups = [
        {"params": [p for p in rest if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in rest if p.ndim < 2], "weight_decay": 0.0},
    ]
    adamw = torch.optim.AdamW(
        [g for g in groups if g["params"]], lr=lr, betas=config.betas, eps=1e-9, fused=True, capturable=on_cuda
    )
    adamw._warned_capturable_if_run_uncaptured = True  # suppresses the warning of eager steps
    if not maps:
        return Optimizers(adamw)
    return Optimizers(Muon(maps.items(), lr=lr, weight_decay=config.weight_decay), adamw)


def set_learning_rate(optimizer: Optimizers, lr: float) -> None:
    """Set the learning rate of every parameter group; a tensor is written in place."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(lr)
        else:
            group["lr"] = lr


def clip_gradient(model: nn.Module, max_norm: float) -> Tensor:
    """Clip the gradient norm to `max_norm` (0 = no clipping); returns the norm before clipping."""
    return nn.utils.clip_grad_norm_(model.parameters(), max_norm if max_norm > 0 else float("inf"))


class MovingAverage:
    """Exponential moving average of the weights: average ← decay · average + (1 - decay) · weights.

    In the first steps the decay is smaller, min(decay, (1 + step) / (10 + step)), so that the
    contribution of the random initial weights vanishes quickly.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.average = {name: p.detach().clone() for name, p in model.named_parameters()}

    def update_weight(self, step: int) -> float:
        """The weight 1 - decay of the parameters after `step` updates."""
        return 1.0 - min(self.decay, (1 + step) / (10 + step))

    @torch.no_grad()
    def update(self, model: nn.Module, update_weight: float | Tensor) -> None:
        """Add the parameters with this weight; a tensor is read on its device."""
        for average, weight in zip(self.average.values(), model.parameters(), strict=True):
            average.lerp_(weight.detach(), update_weight)

    @torch.no_grad()
    def swap(self, model: nn.Module) -> None:
        """Swap the average and the parameters of the model; a second call restores both."""
        for name, parameter in model.named_parameters():
            previous = parameter.detach().clone()
            parameter.copy_(self.average[name])
            self.average[name].copy_(previous)
