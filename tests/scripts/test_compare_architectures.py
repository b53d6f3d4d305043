"""The comparison of the architectures: measurements and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import load_script


@pytest.fixture(scope="module")
def study() -> Any:
    return load_script("compare_architectures")


def test_gradients_vanish_without_cross_attention(study: Any) -> None:
    model = study.small_model({}).eval()
    gradients = study.source_gradients(model, sequences=4)
    assert len(gradients) == study.GRADIENT_SRC_LENGTH and min(gradients) > 0
    for layer in model.decoder.layers:
        layer.cross_attention.out.weight.data.zero_()
    assert max(study.source_gradients(model, sequences=4)) == 0


@pytest.mark.parametrize("name", ["tanh, no attention", "GRU, additive attention", "LSTM, no attention"])
def test_spectral_radius_of_orthogonal_initialization_is_one(study: Any, name: str) -> None:
    radii = study.spectral_radii(study.small_model(study.SMALL[name]))
    assert len(radii) == 6 and all(abs(r - 1) < 1e-3 for r in radii.values())


def test_models_have_comparable_sizes(study: Any) -> None:
    sizes = [study.num_parameters(study.small_model(v)) for v in study.SMALL.values()]
    assert max(sizes) < 1.15 * min(sizes)
    sizes = [
        study.num_parameters(study.build_model(study.load_config(path).model, 4000, 4000))
        for path in study.CONFIGS.values()
    ]
    assert max(sizes) < 1.06 * min(sizes)


def test_accuracy_of_an_untrained_model_is_low(study: Any) -> None:
    model = study.small_model({}).eval()
    per_position, per_sequence = study.accuracy(model, "copy", 6, sequences=10)
    assert 0 <= per_sequence <= per_position < 0.5


def test_pictures_are_drawn(study: Any, tmp_path: Path) -> None:
    dynamics = {"gradients": [1.0, 0.1], "spectral radii": {}}
    lengths = {"lengths": {"4": [1.0, 1.0], "8": [0.5, 0.0]}}
    stages = dict.fromkeys(("at initialisation", "after copy", "after reverse"), dynamics)
    row = {**stages, "copy": lengths, "reverse": lengths}
    figures = {
        "tasks": {"longest": 12, "models": dict.fromkeys(study.SMALL, row)},
        "speed on cpu": {"target tokens a second": {name: {"8": 10, "16": 9} for name in study.CONFIGS}},
    }
    study.draw(figures, tmp_path)
    assert all((tmp_path / f"{name}.png").stat().st_size > 5000 for name in ("gradients", "tasks", "speed"))
