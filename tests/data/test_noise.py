"""Noise changes what it should, as often as it should, and never loses a sentence."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import toy_pairs
from hypothesis import given
from hypothesis import strategies as st

from transformer_cli.data.noise import KINDS, SourceNoise, drop_punctuation, mistype

LINES = [f"{s[:-1]}, at 10.30 on www.example.org." for s, _ in toy_pairs(400)]


def random(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("kind", KINDS)
def test_about_the_share_of_the_sentences_is_changed(kind: str) -> None:
    changed = SourceNoise(0.3, [kind])(LINES, random())
    share = np.mean([a != b for a, b in zip(LINES, changed, strict=True)])
    assert 0.2 < share < 0.4
    assert changed == SourceNoise(0.3, [kind])(LINES, random()) != SourceNoise(0.3, [kind])(LINES, random(2))
    assert SourceNoise(0.0, [kind])(LINES, random()) == LINES


def test_case_changes_letters_only_in_case() -> None:
    changed = SourceNoise(0.9, ["case"])(LINES, random())
    assert [line.lower() for line in changed] == [line.lower() for line in LINES]
    assert {line.isupper() for line in changed} == {True, False}


def test_numbers_and_addresses_keep_their_punctuation() -> None:
    for seed in range(20):
        changed = drop_punctuation("It costs 3.50, see www.example.org.", random(seed))
        assert "3.50" in changed and "www.example.org" in changed and len(changed) < 35
    assert drop_punctuation("...", random()) == "..." and drop_punctuation("ok", random()) == "ok"


def test_typing_errors_are_few_and_inside_words() -> None:
    line = "Several children are playing beside the river 2024 at x@y.org"
    for seed in range(50):
        changed = mistype(line, random(seed))
        assert changed != line or "ll" in line
        assert abs(len(changed) - len(line)) <= 2 and changed.count(" ") == line.count(" ")
        assert "2024" in changed and changed[0] == "S"
    assert mistype("a 12 of it", random()) == "a 12 of it"


@given(st.text(max_size=40), st.integers(0, 99))
def test_no_sentence_becomes_blank_or_two_lines(line: str, seed: int) -> None:
    (changed,) = SourceNoise(1.0, list(KINDS))([line], random(seed))
    assert bool(changed.strip()) == bool(line.strip())
    assert changed.count("\n") == line.count("\n")
