"""Translations have the items of their sources, with every search; text without items is not affected."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import load_script, toy_pairs

from transformer_cli.artifacts.loading import LoadedModel, load_model
from transformer_cli.decoding.request import TranslationRequest
from transformer_cli.deployment.engines import torch_translator
from transformer_cli.deployment.protection.items import find_items, missing_items
from transformer_cli.errors import ConfigError

CLEAN = [s for s, _ in toy_pairs(20, seed=5)]


@pytest.fixture(scope="module")
def loaded(toy_run: Path) -> LoadedModel:
    return load_model(toy_run, torch.device("cpu"))


def planted(count: int) -> list[str]:
    """Lines of the toy language with items."""
    rng, plant = random.Random(7), load_script("measure_protection").plant
    return [plant(line, i, rng)[1] for i, (line, _) in enumerate(toy_pairs(count, seed=6))]


def translations(
    loaded: LoadedModel, lines: list[str], request: TranslationRequest | None = None, **options: Any
) -> Any:
    translator = torch_translator(loaded, {"protect": True, **options}, request or TranslationRequest())
    return translator.translate(lines)


def test_1000_planted_lines_keep_every_item(loaded: LoadedModel) -> None:
    lines = planted(1000)
    results = translations(loaded, lines, beam=1)
    assert len(results) == len(lines)
    lost = [(s, t.text) for s, t in zip(lines, results, strict=True) if missing_items(t.text, find_items(s))]
    assert not lost


@pytest.mark.parametrize("options", [{"beam": 4}, {"sample": True}, {"beam": 2, "precision": "fp64"}])
def test_with_other_searches(options: dict[str, Any], loaded: LoadedModel) -> None:
    lines = planted(30)
    for source, result in zip(lines, translations(loaded, lines, **options), strict=True):
        assert not missing_items(result.text, find_items(source))


def test_lines_without_items_are_translated_as_without_protection(loaded: LoadedModel) -> None:
    lines = [*CLEAN, "", "  ", *planted(6)]
    expected = loaded.translator({"beam": 3}).translate(lines)[: len(CLEAN) + 2]
    for a, b in zip(expected, translations(loaded, lines, beam=3), strict=False):
        assert (a.text, a.score, a.status, a.alternatives) == (b.text, b.score, b.status, b.alternatives)


def test_the_text_around_items_is_that_of_the_line_without_them(loaded: LoadedModel) -> None:
    (plain,) = loaded.translator({"beam": 3}).translate(["The cat sees the house today."])
    (result,) = translations(loaded, ["<b>The cat</b> sees the house today (www.x.org)."], beam=3)
    assert result.text.replace(" (www.x.org)", "").replace("<b>", "").replace("</b>", "") == plain.text


def test_alternatives_keep_them_too(loaded: LoadedModel) -> None:
    lines = planted(30)
    results = translations(loaded, lines, TranslationRequest(n_best=4), beam=4)
    for source, result in zip(lines, results, strict=True):
        texts = [a.text for a in result.alternatives]
        assert texts[0] == result.text and len(set(texts)) == len(texts)
        assert not any(missing_items(text, find_items(source)) for text in texts)


def test_lines_of_items_only_and_long_lines(loaded: LoadedModel) -> None:
    long = " ".join(f"{line[:-1]} {number}." for number, line in enumerate(CLEAN * 4, 100))
    only, tags, split = translations(loaded, ["https://x.org", "<b></b>", long], beam=2)
    assert (only.text, only.status) == ("https://x.org", "ok")
    assert tags.text == "<b></b>"
    assert split.status in ("split", "cut")
    assert not missing_items(split.text, find_items(long))


def test_prefixes_and_terms_hold(loaded: LoadedModel) -> None:
    line = "The cat sees 5 the house www.x.org today."
    translator = torch_translator(
        loaded, {"protect": True, "beam": 5}, TranslationRequest(terms=(("house", "das Pferd"),))
    )
    (result,) = translator.translate([line], prefixes=["Jetzt sieht"])
    assert result.text.startswith("Jetzt sieht") and "das Pferd" in result.text
    assert not missing_items(result.text, find_items(line))


def test_alignments_are_refused(loaded: LoadedModel) -> None:
    with pytest.raises(ConfigError, match="--alignments cannot be combined with --protect"):
        torch_translator(loaded, {"protect": True}, TranslationRequest(align=True))
