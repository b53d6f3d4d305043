"""Planted faults are counted exactly, and good translations have none."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from conftest import ROOT, toy_pairs

from transformer_cli.evaluation.breakdown import count_words
from transformer_cli.evaluation.failures import FAILURES, find_failures, repeated_phrase

PAIRS = [
    (f"{s[:-1]} says Ms Miller at 10:30, see www.site{i}.org/a or {i + 100} others.",
     f"{t[:-1]} sagt Ms Miller um 10.30, siehe www.site{i}.org/a oder {i + 100} andere.")
    for i, (s, t) in enumerate(toy_pairs(90, seed=4))
]  # fmt: skip
SOURCES, REFERENCES = [s for s, _ in PAIRS], [t for _, t in PAIRS]
COUNTS = count_words(REFERENCES)
FAULTS: dict[str, Callable[[int], str]] = {
    "empty": lambda row: "" if row % 2 else "  ",
    "copied": lambda row: SOURCES[row],
    "repetition": lambda row: REFERENCES[row].replace(" oder ", " oder" * (3 + row % 9) + " "),
    "untranslated": lambda row: REFERENCES[row].replace(" andere", " others"),
    "numbers": lambda row: REFERENCES[row].replace(str(row + 100), str(row + 200)),
    "urls": lambda row: REFERENCES[row].replace(".org/a", ".org/b"),
    "names": lambda row: REFERENCES[row].replace("Miller", "Müller"),
    "over": lambda row: (
        f"{REFERENCES[row]} "
        + " ".join(f"Dazu noch viel mehr Text von {w}." for w in "abcdefghijk"[: 8 + row % 3])
    ),
    "under": lambda row: f"Ms Miller, 10.30, {row + 100}, www.site{row}.org/a",
}


def test_every_type_has_a_planted_fault() -> None:
    assert list(FAULTS) == [failure.key for failure in FAILURES]
    assert all(failure.definition.endswith(".") and failure.title for failure in FAILURES)


def test_good_translations_have_no_failures() -> None:
    found = find_failures(SOURCES, REFERENCES, [REFERENCES], COUNTS)
    assert not any(found.values()) and list(found) == list(FAULTS)


@pytest.mark.parametrize("counts", [COUNTS, {}], ids=["counts", "no counts"])
def test_planted_faults_are_counted_exactly(counts: dict[str, int]) -> None:
    """Of 90 lines, each type damages another number of lines, all in one text."""
    hypotheses, planted, row = list(REFERENCES), {}, 0
    for number, (key, fault) in enumerate(FAULTS.items(), 3):
        planted[key] = list(range(row, row + number))
        for place in planted[key]:
            hypotheses[place] = fault(place)
            assert hypotheses[place] != REFERENCES[place]
        row += number
    found = find_failures(SOURCES, hypotheses, [REFERENCES], counts)
    copied = found["names"].keys() & set(planted["copied"])
    assert not copied
    assert {key: list(rows) for key, rows in found.items()} == planted
    assert found["untranslated"][planted["untranslated"][0]] == "others"
    first = planted["numbers"][0]
    assert found["numbers"][first] == f"missing: {first + 100}; added: {first + 200}"
    assert found["names"][planted["names"][0]] == "missing: Miller"


def only(source: str, hypothesis: str, *references: str, counts: dict[str, int] | None = None) -> set[str]:
    found = find_failures([source], [hypothesis], [[r] for r in references], counts or {})
    return {key for key, rows in found.items() if rows}


@pytest.mark.parametrize(
    ("source", "hypothesis", "references", "expected"),
    [
        ("", "", ["x"], set()),
        ("OK", "OK", ["OK"], set()),
        ("Stop!", "Stop!", ["Halt!"], {"copied"}),
        ("no no no", "nein nein nein", ["nein, nein, nein"], set()),
        ("I said no", "nein nein nein", ["nein nein nein"], set()),
        ("1,500 people", "1.500 Menschen", ["1500 Menschen"], set()),
        ("two dogs", "2 Hunde", ["zwei Hunde"], set()),
        ("2 dogs", "zwei Hunde", ["zwei Hunde"], set()),
        ("2 dogs", "Hunde", ["2 Hunde"], {"numbers"}),
        ("two dogs", "12 Hunde", ["zwei Hunde"], {"numbers"}),
        ("see a@b.org.", "siehe a@b.org", ["siehe a@b.org."], set()),
        ("see a@b.org", "siehe a@c.org", ["siehe hier"], {"urls"}),
        ("The film of Paris", "Der Film von London", ["Der Film von Paris"], {"names"}),
        ("The German film", "Der deutsche Film", ["Der deutsche Film"], set()),
        ("a warm soup", "eine warm Suppe", ["eine heiße Suppe"], {"untranslated"}),
        ("a big cat", "eine big Katze", ["eine große Katze"], set()),
        ("yes", "ja, das ist eine sehr gute Frage", ["ja"], {"over"}),
        ("yes", "ja, das ist so", ["ja"], set()),
    ],
)  # fmt: skip
def test_borders(source: str, hypothesis: str, references: list[str], expected: set[str]) -> None:
    assert only(source, hypothesis, *references) == expected


def test_what_another_reference_does_is_no_failure() -> None:
    assert only("2 cats", "Katzen", "2 Katzen") == {"numbers"}
    assert only("a word", "ja " * 30, "ja", "ja " * 30) == set()
    assert only("a warm soup", "eine warm Suppe", "eine heiße Suppe", counts={"warm": 1}) == set()


def test_repeated_phrases() -> None:
    assert repeated_phrase(["a", "b", "a", "b", "a", "b"]) == "a b"
    assert repeated_phrase(["x", "a", "a", "a"]) == "a"
    assert repeated_phrase(["a", "b", "a", "b", "c", "a", "b"]) == "" == repeated_phrase([])
    assert repeated_phrase(["w", *["1", "2", "3", "4", "5", "6"] * 3]) == "1 2 3 4 5 6"
    assert repeated_phrase(["1", "2", "3", "4", "5", "6", "7"] * 3) == ""


def test_documentation_has_the_definitions() -> None:
    text = (ROOT / "docs/evaluating.md").read_text(encoding="utf-8")
    for failure in FAILURES:
        assert f"| {failure.title} | {failure.definition} |" in text, failure.key
