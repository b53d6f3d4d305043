"""The engine CTranslate2 gives the translations, scores and alternatives of the engine torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import toy_pairs

from transformer_cli.artifacts.loading import LoadedModel, load_model
from transformer_cli.decoding.request import TranslationRequest
from transformer_cli.deployment.ctranslate2_engine import (
    SUPPORTED_OPTIONS,
    CTranslate2Model,
    CTranslate2Translator,
    batch_bounds,
    unsupported_options,
)
from transformer_cli.deployment.ctranslate2_spec import build_spec
from transformer_cli.errors import UserError
from transformer_cli.schema import DecodingConfig

pytest.importorskip("ctranslate2")

LINES = [*(s for s, _ in toy_pairs(30, seed=8)), "", "  ", "the"]


@pytest.fixture(scope="module")
def loaded(toy_run: Path) -> LoadedModel:
    return load_model(toy_run, torch.device("cpu"))


@pytest.fixture(scope="module")
def model(loaded: LoadedModel, tmp_path_factory: pytest.TempPathFactory) -> CTranslate2Model:
    directory = tmp_path_factory.mktemp("export")
    build_spec(loaded.config.model, dict(loaded.model.named_parameters()), loaded.vocabularies, 2048).save(
        str(directory)
    )
    return CTranslate2Model(directory, loaded.vocabularies, "float32", threads=2)


def translators(
    loaded: LoadedModel, model: CTranslate2Model, request: TranslationRequest | None = None, **options: Any
) -> tuple[Any, CTranslate2Translator]:
    expected = loaded.translator(options, request)
    return expected, CTranslate2Translator(model, loaded.vocabularies, loaded.config, expected.options, request)


@pytest.mark.parametrize(
    "options",
    [
        {"beam": 1},
        {"beam": 4, "length_penalty": 0.0},
        {"beam": 4},
        {"beam": 5, "length_penalty": 3.0},
        {"beam": 4, "max_length_ratio": 0.3},
        {"beam": 3, "batch_tokens": 1},
    ],
)
def test_translations_and_scores_are_those_of_torch(
    options: dict[str, Any], loaded: LoadedModel, model: CTranslate2Model
) -> None:
    torch_engine, engine = translators(loaded, model, **options)
    finished: list[int] = []
    for expected, actual in zip(
        torch_engine.translate(LINES), engine.translate(LINES, finished.append), strict=True
    ):
        assert (actual.text, actual.status) == (expected.text, expected.status)
        # The export removes PAD, UNK and BOS before the softmax, the engine torch after it: a few thousandths of
        # the probability with the small vocabulary of this model.
        assert actual.score == pytest.approx(expected.score, rel=0.1, abs=0.02)
        assert actual.token_log_probs == pytest.approx(expected.token_log_probs, rel=0.1, abs=0.02)
    assert sum(finished) == sum(bool(line.strip()) for line in LINES)


def test_alternatives_are_those_of_torch(loaded: LoadedModel, model: CTranslate2Model) -> None:
    torch_engine, engine = translators(loaded, model, TranslationRequest(n_best=3), beam=6, length_penalty=1.0)
    for expected, actual in zip(torch_engine.translate(LINES), engine.translate(LINES), strict=True):
        assert [a.text for a in actual.alternatives][:1] == [a.text for a in expected.alternatives][:1]
        assert len(actual.alternatives) == len(expected.alternatives)
        scores = [a.score for a in actual.alternatives]
        assert scores == sorted(scores, reverse=True)


def test_a_long_line_is_split_as_by_torch(loaded: LoadedModel, model: CTranslate2Model) -> None:
    long_line = " ".join(f"{s}" for s, _ in toy_pairs(40, seed=3))
    torch_engine, engine = translators(loaded, model, beam=1)
    (expected,), (actual,) = torch_engine.translate([long_line]), engine.translate([long_line])
    assert actual.status in ("split", "cut") and (actual.text, actual.status) == (expected.text, expected.status)


def test_each_sentence_has_its_own_length_limit(loaded: LoadedModel, model: CTranslate2Model) -> None:
    """Sentences of one batch with different limits are cut where they would be alone."""
    sources = loaded.vocabularies.src.encode(LINES[:12])
    limits = [1 + i % 4 for i in range(12)]
    together = model.search(sources, limits, beam=3, num_hypotheses=3)
    alone = [
        model.search([ids], [limit], beam=3, num_hypotheses=3)[0]
        for ids, limit in zip(sources, limits, strict=True)
    ]
    assert [[tokens for tokens, _ in found] for found in together] == [[t for t, _ in found] for found in alone]
    assert all(len(found[0][0]) <= limit for found, limit in zip(together, limits, strict=True))


def test_batches_are_consecutive_and_bounded() -> None:
    lengths = [9, 9, 5, 4, 4, 1, 1, 1]
    bounds = batch_bounds(lengths, 10)
    assert [i for start, end in bounds for i in range(start, end)] == list(range(8))
    assert all((end - start) * lengths[start] <= 10 for start, end in bounds)
    assert batch_bounds([50, 1], 10) == [(0, 1), (1, 2)]


def test_options_that_it_lacks_are_named() -> None:
    changed = {
        "coverage_penalty": 1.0, "min_length_ratio": 0.5, "no_repeat_ngram": 2, "repetition_penalty": 1.2, "diversity_groups": 5,
        "diversity_strength": 1.0, "sample": True, "temperature": 0.5, "top_k": 3, "top_p": 0.5,
        "mbr_samples": 3, "shortlist": 9, "protect": True, "confidence": True, "min_confidence": 0.5,
    }  # fmt: skip
    assert set(changed) | set(SUPPORTED_OPTIONS) == set(DecodingConfig.model_fields)
    for key, value in changed.items():
        options = DecodingConfig().model_copy(update={key: value})
        assert unsupported_options(options, TranslationRequest()) == [f"--{key.replace('_', '-')}"]
    request = TranslationRequest(terms=(("a", "b"),), avoid=("c",), align=True)
    options = DecodingConfig(precision="fp64")
    assert unsupported_options(options, request) == ["--precision fp64", "--terms", "--avoid", "--alignments"]
    assert not unsupported_options(DecodingConfig(beam=9, precision="int8"), TranslationRequest(n_best=3))


def test_a_file_that_is_no_model_is_refused(loaded: LoadedModel, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="CTranslate2 cannot load"):
        CTranslate2Model({"model.bin": b"junk"}, loaded.vocabularies, "float32", threads=1)
    with pytest.raises(UserError, match="CTranslate2 cannot load"):
        CTranslate2Model(tmp_path, loaded.vocabularies, "float32", threads=1)
