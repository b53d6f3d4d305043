"""Text is split into sentences without losing a character."""

from __future__ import annotations

import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transformer_cli.deployment.sentences import MAX_CHARACTERS, split_sentences
from transformer_cli.errors import ConfigError


@pytest.mark.parametrize(
    ("language", "sentences"),
    [
        ("en", ["Dr. Smith paid $3.50. ", "He left at 5 p.m. on Monday! ", "Why?"]),
        ("de", ["Am 5. Mai kam Herr Dr. Müller. ", "Er ging, z.B. heute."]),
        ("ja", ["これは本です。", "あれは犬です！", "はい。"]),
        ("en", ["A title\n", "A line.\n\n", "Another one.\t", "A cell"]),
        ("en", ["  Spaces. ", "Here.  "]),
        ("pt-BR", ["Um cão corre. ", "Um gato dorme."]),
        ("", ["A dog. ", "A cat."]),
        ("none", ["A dog. ", "A cat."]),
        ("en", []),
    ],
)
def test_split(language: str, sentences: list[str]) -> None:
    assert split_sentences("".join(sentences), language) == sentences


@settings(max_examples=300, deadline=None)
@given(
    st.text(st.sampled_from("aB .!?\n\t\r\"'()„“«»。！\u00a0\u2028\u3000\ufeff1é猫\0\U0001f600"), max_size=60),
    st.sampled_from(["en", "de", "fr", "zh", "ar", "hi", "ru"]),
)
def test_no_character_is_lost(text: str, language: str) -> None:
    assert "".join(split_sentences(text, language)) == text


def test_spaces_at_which_the_library_panics() -> None:
    assert split_sentences("aa M\u00a0. b") == ["aa M\u00a0. b"]


@pytest.mark.parametrize("unit", ["„ ", "a. ", "(", "x"])
def test_hostile_text_takes_linear_time(unit: str) -> None:
    text = unit * (10 * MAX_CHARACTERS)
    start = time.perf_counter()
    assert "".join(split_sentences(text)) == text
    assert time.perf_counter() - start < 5


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentencex", None)
    with pytest.raises(ConfigError, match="needs the package sentencex"):
        split_sentences("A dog.")
