from __future__ import annotations

import pytest

from transformer_cli.errors import ConfigError
from transformer_cli.models.registry import build_model
from transformer_cli.schema import PRESETS, ModelConfig


def test_unknown_architecture_suggests_the_closest_name() -> None:
    with pytest.raises(ConfigError, match="did you mean 'transformer'"):
        build_model(ModelConfig(encoder="transfomer"), 10, 10)


@pytest.mark.parametrize(("preset", "millions"), [("tiny", 2.1), ("small", 7.6), ("base", 48.2)])
def test_presets_have_the_expected_size(preset: str, millions: float) -> None:
    vocab = {"tiny": 4000, "small": 8000, "base": 8000}[preset]
    model = build_model(ModelConfig(preset=preset), vocab, vocab)
    assert preset in PRESETS
    assert abs(sum(p.numel() for p in model.parameters()) / 1e6 - millions) < 0.1


@pytest.mark.parametrize("tie", ["none", "decoder", "all"])
def test_tied_embeddings_share_one_matrix(tie: str) -> None:
    model = build_model(ModelConfig(preset="tiny", tie_embeddings=tie), 50, 50)
    assert (model.output.weight is model.tgt_embedding.weight) == (tie != "none")
    assert (model.src_embedding is model.tgt_embedding) == (tie == "all")
