"""Learning rates as pure functions of the step.

`step` counts from 1, `total_steps` is the step at which training ends. A run resumed at step k therefore has
the rate of a run that never stopped.
"""

from __future__ import annotations

import math

from transformer_cli.schema import OptimConfig


def learning_rate(config: OptimConfig, d_model: int, step: int, total_steps: int) -> float:
    """The rate of this step: linear warm-up to the peak, then as the schedule says.

    `noam` is equation 3 of Vaswani et al. 2017, `lr` being its factor:
    lr · D^-0.5 · min(step^-0.5, step · warmup^-1.5).
    """
    warmup = max(config.warmup_steps, 1)
    if config.schedule == "noam":
        return config.lr * d_model**-0.5 * min(step**-0.5, step * warmup**-1.5)
    if step < warmup:
        return config.lr * step / warmup
    return config.lr * _decay(config, step, warmup, total_steps)


def _decay(config: OptimConfig, step: int, warmup: int, total_steps: int) -> float:
    if config.schedule == "constant":
        return 1.0
    if config.schedule == "inverse_sqrt":
        return math.sqrt(warmup / step)
    done = min((step - warmup) / max(total_steps - warmup, 1), 1.0)
    left = 1.0 - done if config.schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * done))
    return config.min_lr_ratio + (1.0 - config.min_lr_ratio) * left
