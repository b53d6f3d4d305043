"""Filters that remember text."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transformer_cli.data.filters import duplicates
from transformer_cli.data.filters.base import Pair
from transformer_cli.data.filters.duplicates import Duplicates, HashSet, NearDuplicates, Overlap, hash_texts, skeleton


@given(st.lists(st.lists(st.integers(0, 40), max_size=30), max_size=12))
def test_a_set_of_hashes_is_a_set(batches: list[list[int]]) -> None:
    hashes, seen = HashSet(), set()
    for batch in batches:
        expected = []
        for value in batch:
            expected.append(value in seen)
            seen.add(value)
        assert hashes.add(np.array(batch, dtype=np.uint64)).tolist() == expected
    assert hashes.contains(np.arange(41, dtype=np.uint64)).tolist() == [value in seen for value in range(41)]


def test_a_large_set_has_few_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "MERGE", 64)
    rng, hashes = random.Random(1), HashSet()
    for _ in range(300):
        hashes.add(np.array([rng.getrandbits(64) for _ in range(100)], dtype=np.uint64))
    sizes = [len(level) for level in hashes._levels]
    assert sum(sizes) == 30_000 and len(sizes) <= 10


def test_repeated_pairs_and_near_duplicates() -> None:
    texts = [("A cat.", "Eine Katze."), ("A dog.", "Ein Hund."), ("A cat.", "Eine Katze."), ("a CAT", "eine, Katze!")]
    texts += [("Room 1", "Zimmer 1"), ("Room 2", "Zimmer 2"), ("...", "!"), ("?", "!!")]
    pairs = [Pair(i, *text) for i, text in enumerate(texts)]
    assert Duplicates().flag(pairs) == [False, False, True, False] + [False] * 4
    assert NearDuplicates().flag(pairs) == [False, False, True, True] + [False] * 4
    judge = Duplicates()
    assert [judge.flag([pair])[0] for pair in pairs] == Duplicates().flag(pairs)


def test_marks_and_letters_of_all_scripts_count() -> None:
    assert skeleton("ที่ นี่") != skeleton("ที นี") and skeleton("你好。") == "你好" and skeleton("?!") == "?!"


def test_hashes_are_the_same_everywhere() -> None:
    assert hash_texts(["a", "ä\ud800"]).tolist() == [3405396810240292928, 10496162539236675307]


def test_overlap_needs_both_sides_or_a_long_one() -> None:
    judge = Overlap(["Where is the station?", "Yes.", "Ja.", "", "Wo ist der Bahnhof?"])
    texts = [("where is THE station", "x"), ("x", "Wo ist der Bahnhof"), ("Yes", "Ja"), ("Yes", "Doch"), ("x", "y")]
    assert judge.flag([Pair(1, *text) for text in texts]) == [True, True, True, False, False]
    assert Overlap([]).flag([Pair(1, "a", "b")]) == [False]
