"""The optimizers, gradient clipping, and the moving average of the weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from transformer_cli.models.layers import Linear
from transformer_cli.schema import OptimConfig
from transformer_cli.training.muon import Muon


class Optimizers:
    """Several optimizers, each with parameters of its own, that step as one."""

    def __init__(self, *parts: torch.optim.Optimizer) -> None:
        self.parts = parts
        self._owner = {p: part for part in parts for group in part.param_groups for p in group["params"]}

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return [group for part in self.parts for group in part.param_groups]

    def step(self, found_inf: Tensor | None = None) -> None:
        """One step of each. Where `found_inf`, a scalar on the device, is not 0, nothing changes.

        torch's own optimizers read an attribute of that name; so the host need not be asked.
        """
        for part in self.parts:
            part.found_inf = found_inf  # type: ignore[attr-defined]
            part.step()

    def state_of(self, parameter: Tensor) -> dict[str, Tensor]:
        """Moments and counts of one parameter; empty before the first step."""
        state: dict[str, Tensor] = self._owner[parameter].state[parameter]
        return state


def build_optimizer(model: nn.Module, config: OptimConfig) -> Optimizers:
    """AdamW (Loshchilov and Hutter 2019) over all parameters, or Muon for the linear maps and AdamW for the rest.

    Only matrices decay: a norm's scale has no reason to shrink. On CUDA the rate is a tensor, so that a captured
    graph reads what the schedule wrote.
    """
    device = next(model.parameters()).device
    on_cuda = device.type == "cuda"
    rate = torch.tensor(config.lr, device=device) if on_cuda else config.lr
    maps = {m.weight: m.blocks for m in model.modules() if isinstance(m, Linear) and m.weight.requires_grad}
    if config.algorithm == "adamw":
        maps = {}
    rest = [p for p in model.parameters() if p.requires_grad and p not in maps]
    groups = [
        {"params": [p for p in rest if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in rest if p.ndim < 2], "weight_decay": 0.0},
    ]
    adamw = torch.optim.AdamW(
        [g for g in groups if g["params"]], lr=rate, betas=config.betas, eps=1e-9, fused=True, capturable=on_cuda
    )
    adamw._warned_capturable_if_run_uncaptured = True  # it may run either way, and torch need not warn of it
    if not maps:
        return Optimizers(adamw)
    return Optimizers(Muon(maps.items(), lr=rate, weight_decay=config.weight_decay), adamw)


def set_learning_rate(optimizer: Optimizers, rate: float) -> None:
    """The rate of the next step, for every group."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
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

    def update_weight(self, step: int) -> float:
        """What the weights after `step` updates contribute: 1 - decay."""
        return 1.0 - min(self.decay, (1 + step) / (10 + step))

    @torch.no_grad()
    def update(self, model: nn.Module, update_weight: float | Tensor) -> None:
        """Take in the weights with this share; a tensor is read on its device."""
        for average, weight in zip(self.average.values(), model.parameters(), strict=True):
            average.lerp_(weight.detach(), update_weight)

    @torch.no_grad()
    def swap(self, model: nn.Module) -> None:
        """Exchange average and weights; calling it twice changes nothing."""
        for name, parameter in model.named_parameters():
            held = parameter.detach().clone()
            parameter.copy_(self.average[name])
            self.average[name].copy_(held)
