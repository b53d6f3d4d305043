"""Learning rate schedules as pure functions of the step.

`step` counts from 1; `total_steps` is the last step of training. Because a schedule has no state, a
run resumed at any step has the same learning rate as an uninterrupted run.
"""

from __future__ import annotations

import math

from transformer_cli.schema import OptimConfig


def learning_rate(config: OptimConfig, d_model: int, step: int, total_steps: int) -> float:
    """The learning rate of a step: linear warmup to `lr`, then the decay of the schedule.

    `noam` is equation 3 of Vaswani et al. 2017 multiplied by `lr`:
    lr · D^-0.5 · min(step^-0.5, step · warmup^-1.5).
    """
    warmup = max(config.warmup_steps, 1)
    if config.schedule == "noam":
        return config.lr * d_model**-0.5 * min(step**-0.5, step * warmup**-1.5)
    if step < warmup:
        return config.lr * step / warmup
    return config.lr * _decay(config, step, warmup, total_steps)


def _decay(config: OptimConfig, step: int, warmup: int, total_steps: int) -> float:
    """The factor after warmup, relative to the peak."""
    if config.schedule == "constant":
        return 1.0
    if config.schedule == "inverse_sqrt":
        return math.sqrt(warmup / step)
    progress = min((step - warmup) / max(total_steps - warmup, 1), 1.0)
    factor = 1.0 - progress if config.schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * progress))
    return config.min_lr_ratio + (1.0 - config.min_lr_ratio) * factor
