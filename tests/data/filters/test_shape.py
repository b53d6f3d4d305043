"""Filters by lengths, ends and repetition."""

from __future__ import annotations

import math

import pytest

from transformer_cli.data.filters.base import Pair, split_words
from transformer_cli.data.filters.shape import HeaderRow, LengthRatio, Repetition, TooLong, Truncated

LONG = "this sentence is long enough to be judged"


def test_words_of_scripts_without_spaces_are_characters() -> None:
    assert split_words("ein Haus ") == ["ein", "Haus"]
    assert split_words("我们 go ok。") == ["我", "们", "go", "ok。"]


@pytest.mark.parametrize(("words", "rejected"), [(5, False), (6, True)])
def test_too_long(words: int, rejected: bool) -> None:
    assert TooLong(5).rejects(Pair(1, "a", "b " * words)) == rejected
    assert TooLong(5).rejects(Pair(1, "字" * words, "b")) == rejected


def test_the_ratio_of_lengths_is_relative_to_that_of_the_corpus() -> None:
    usual = LengthRatio(4.0, 0.0)
    assert usual.rejects(Pair(1, LONG * 5, LONG)) and usual.rejects(Pair(1, LONG, LONG * 5))
    assert not usual.rejects(Pair(1, LONG * 3, LONG)) and not usual.rejects(Pair(1, "yes", "y" * 39))
    chinese = LengthRatio(4.0, math.log(1 / 5))
    assert not chinese.rejects(Pair(1, LONG * 5, LONG)) and chinese.rejects(Pair(1, LONG, LONG))


def test_truncation_needs_a_missing_end_and_a_missing_part() -> None:
    judge = Truncated(0.5, 0.0)
    assert judge.rejects(Pair(1, f"{LONG} {LONG}.", "nur der Anfang")) and judge.rejects(Pair(1, LONG[:20], f"{LONG}."))
    assert not judge.rejects(Pair(1, f"{LONG} {LONG}.", "ganz kurz."))
    assert not judge.rejects(Pair(1, f"{LONG}.", LONG)) and not judge.rejects(Pair(1, LONG, "x"))


@pytest.mark.parametrize(
    ("text", "rejected"),
    [
        ("no " * 10, True),
        ("ha ha ha " * 4, True),
        ("one two three " * 5, True),
        ("a b c d e f " * 4, True),
        (f"{LONG} and then he says no no no no", False),
        ("哈" * 12, True),
        ("我们去吃饭吧他说好的我们走", False),
        ("no no no no", False),
        ("the cat and the dog and the bird and the horse and the cow", False),
    ],
)
def test_repetition(text: str, rejected: bool) -> None:
    assert Repetition(0.5).rejects(Pair(1, "fine", text)) == rejected == Repetition(0.5).rejects(Pair(1, text, "fine"))


def test_a_header_is_in_the_first_line_only() -> None:
    assert HeaderRow().rejects(Pair(1, "English", "de-AT")) and HeaderRow().rejects(Pair(1, "source", "Target"))
    assert not HeaderRow().rejects(Pair(2, "English", "German")) and not HeaderRow().rejects(Pair(1, "English", "Ja."))
