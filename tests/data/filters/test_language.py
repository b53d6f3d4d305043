"""Filters by script and language."""

from __future__ import annotations

import sys

import pytest
from planted import FRENCH, GREEK, sample_pairs

from transformer_cli.data.filters.base import Pair
from transformer_cli.data.filters.language import (
    SwappedSides,
    UntranslatedSide,
    WrongLanguage,
    WrongScript,
    prevailing_scripts,
)
from transformer_cli.data.filters.profile import CorpusProfile
from transformer_cli.errors import ConfigError

PAIRS = [Pair(i, *pair) for i, pair in enumerate(sample_pairs(500), 1)]


def test_the_scripts_of_a_text() -> None:
    assert prevailing_scripts(["Hello, world 12", "Größe"]) == ("Latin",)
    assert set(prevailing_scripts(["これはペンです", "日本語の文"])) == {"Kana", "Han"}
    assert prevailing_scripts(["123 !"]) == ()


def test_wrong_script() -> None:
    judge = WrongScript(0.3, (("Latin",), ("Kana", "Han")))
    good = [("An ordinary sentence", "これは iPhone と MacBook です。"), ("Yes", "OK"), ("Beta β and γ", "日本語の長い文です")]
    bad = [(GREEK, "これはペンです。ありがとう"), ("An ordinary sentence", "An ordinary sentence")]
    assert judge.flag([Pair(1, *pair) for pair in good + bad]) == [False] * 3 + [True] * 2


def test_wrong_language() -> None:
    judge = WrongLanguage("English, de")
    pairs = [("The children play in the garden.", "Die Kinder spielen im Garten."), ("The children play.", FRENCH), ("OK", "Oui")]
    assert judge.flag([Pair(1, *pair) for pair in pairs]) == [False, True, False]
    assert sum(judge.flag(PAIRS)) <= 2
    for languages, words in (("en", "two languages"), ("en,xx", "not a language that")):
        with pytest.raises(ConfigError, match=words):
            WrongLanguage(languages)


def test_wrong_language_without_its_package_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "py3langid.langid", None)
    with pytest.raises(ConfigError, match="needs the package py3langid"):
        WrongLanguage("en,de")


def test_the_words_tell_the_sides_apart() -> None:
    words = CorpusProfile(PAIRS).words
    assert words is not None and words.overlap() < 0.3
    swapped = [Pair(pair.line, pair.tgt, pair.src) for pair in PAIRS]
    assert not any(SwappedSides(words).flag(PAIRS)) and sum(SwappedSides(words).flag(swapped)) > 400
    same = [Pair(a.line, a.src, b.src) for a, b in zip(PAIRS, PAIRS[1:], strict=False)]
    assert not any(UntranslatedSide(words).flag(PAIRS)) and sum(UntranslatedSide(words).flag(same)) > 400


def test_a_corpus_in_one_language_is_recognised() -> None:
    profile = CorpusProfile([Pair(pair.line, pair.src, pair.src) for pair in PAIRS])
    assert profile.is_monolingual and not CorpusProfile(PAIRS).is_monolingual
    assert not CorpusProfile(PAIRS[:50]).is_monolingual
