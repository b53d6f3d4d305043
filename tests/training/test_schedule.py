from __future__ import annotations

import pytest

from transformer_cli.schema import OptimConfig
from transformer_cli.training.schedule import learning_rate

HORIZON = 1000


def rate(schedule: str, step: int, **more: float) -> float:
    config = OptimConfig(lr=2.0, warmup_steps=100, schedule=schedule, min_lr_ratio=0.1, **more)  # type: ignore[arg-type]
    return learning_rate(config, 64, step, HORIZON)


@pytest.mark.parametrize("schedule", ["linear", "cosine", "inverse_sqrt", "constant"])
def test_warm_up_is_linear_to_the_peak(schedule: str) -> None:
    assert rate(schedule, 1) == pytest.approx(0.02)
    assert rate(schedule, 50) == pytest.approx(1.0)
    assert rate(schedule, 100) == pytest.approx(2.0)


def test_decay() -> None:
    assert rate("linear", 550) == pytest.approx(2.0 * 0.55)
    assert rate("linear", HORIZON) == pytest.approx(0.2) == rate("linear", 2 * HORIZON)
    assert rate("cosine", 550) == pytest.approx(2.0 * 0.55)
    assert rate("cosine", HORIZON) == pytest.approx(0.2)
    assert rate("inverse_sqrt", 400) == pytest.approx(1.0)
    assert rate("constant", 999) == 2.0


def test_noam_is_equation_3() -> None:
    for step in (1, 99, 100, 5000):
        assert rate("noam", step) == pytest.approx(2.0 * 64**-0.5 * min(step**-0.5, step * 100**-1.5))


def test_no_warm_up() -> None:
    config = OptimConfig(lr=1.0, warmup_steps=0, schedule="linear", min_lr_ratio=0.0)
    assert learning_rate(config, 64, 1, 11) == pytest.approx(1.0)
    assert learning_rate(config, 64, 11, 11) == 0.0
