"""What the compiled search does not support stays with torch, for a reason that is named."""

from __future__ import annotations

from typing import Any

import pytest

from transformer_cli.decoding.execution.compiled.support import compiled_unsupported_reason
from transformer_cli.models.registry import build_model
from transformer_cli.schema import DecodingConfig, ModelConfig

pytest.importorskip("numba")

SIZES = {"d_model": 32, "num_heads": 2, "d_ff": 32, "encoder_layers": 1, "decoder_layers": 1}


def reason(decoding: dict[str, Any], shape: dict[str, Any], vocab: int = 40) -> str:
    config = ModelConfig.model_validate({**SIZES, **shape})
    return compiled_unsupported_reason(build_model(config, vocab, vocab), config, DecodingConfig(**decoding))


@pytest.mark.parametrize("decoding", [{}, {"beam": 1}, {"length_penalty": 0.5, "coverage_penalty": 1.0}])
@pytest.mark.parametrize("shape", [{}, {"norm": "post", "positions": "rotary", "activation": "swiglu"}])
def test_supported(decoding: dict[str, Any], shape: dict[str, Any]) -> None:
    assert not reason(decoding, shape)


@pytest.mark.parametrize(
    ("decoding", "shape", "words"),
    [
        ({"compiled": "never"}, {}, "compiled is never"),
        ({"sample": True}, {}, "decoding.sample"),
        ({"mbr_samples": 4}, {}, "decoding.mbr_samples"),
        ({"beam": 4, "diversity_groups": 2}, {}, "decoding.diversity_groups"),
        ({"no_repeat_ngram": 3}, {}, "decoding.no_repeat_ngram"),
        ({"repetition_penalty": 1.5}, {}, "decoding.repetition_penalty"),
        ({"min_length_ratio": 0.5}, {}, "decoding.min_length_ratio"),
        ({"shortlist": 5}, {}, "decoding.shortlist"),
        ({"precision": "fp64"}, {}, "decoding.precision"),
        ({"precision": "bf16"}, {}, "decoding.precision"),
        ({"beam": 64}, {}, "decoding.beam"),
        ({"beam": 19}, {}, "vocabulary"),
        ({}, {"decoder": "rnn"}, "transformer -> rnn"),
        ({}, {"encoder": "tcn"}, "tcn -> transformer"),
        ({}, {"d_model": 24}, "multiple of 16"),
    ],
)
def test_unsupported(decoding: dict[str, Any], shape: dict[str, Any], words: str) -> None:
    assert words in reason(decoding, shape)


def test_an_ensemble_is_not_supported() -> None:
    config = ModelConfig.model_validate(SIZES)
    assert "ensemble" in compiled_unsupported_reason(object(), config, DecodingConfig())


def test_without_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "extra: fast" in reason({}, {})
