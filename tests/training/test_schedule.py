from __future__ import annotations

import pytest

from transformer_cli.schema import OptimConfig
from transformer_cli.training.schedule import learning_rate

TOTAL_STEPS = 1000


def rate(schedule: str, step: int, **options: float) -> float:
    config = OptimConfig(lr=2.0, warmup_steps=100, schedule=schedule, min_lr_ratio=0.1, **options)  # type: ignore[arg-type]
    return learning_rate(config, 64, step, TOTAL_STEPS)


@pytest.mark.parametrize("schedule", ["linear", "cosine", "inverse_sqrt", "constant"])
def test_warmup_is_linear(schedule: str) -> None:
    assert rate(schedule, 1) == pytest.approx(0.02)
    assert rate(schedule, 50) == pytest.approx(1.0)
    assert rate(schedule, 100) == pytest.approx(2.0)


def test_decay_after_warmup() -> None:
    assert rate("linear", 550) == pytest.approx(2.0 * 0.55)
    assert rate("linear", TOTAL_STEPS) == pytest.approx(0.2) == rate("linear", 2 * TOTAL_STEPS)
    assert rate("cosine", 550) == pytest.approx(2.0 * 0.55)
    assert rate("cosine", TOTAL_STEPS) == pytest.approx(0.2)
    assert rate("inverse_sqrt", 400) == pytest.approx(1.0)
    assert rate("constant", 999) == 2.0


def test_noam_equals_equation_3() -> None:
    for step in (1, 99, 100, 5000):
        assert rate("noam", step) == pytest.approx(2.0 * 64**-0.5 * min(step**-0.5, step * 100**-1.5))


def test_without_warmup() -> None:
    config = OptimConfig(lr=1.0, warmup_steps=0, schedule="linear", min_lr_ratio=0.0)
    assert learning_rate(config, 64, 1, 11) == pytest.approx(1.0)
    assert learning_rate(config, 64, 11, 11) == 0.0
