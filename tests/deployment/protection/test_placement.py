"""Items that were removed from a line come to the words next to them in the translation."""

from __future__ import annotations

import pytest

from transformer_cli.deployment.protection.alignment import Aligner
from transformer_cli.deployment.protection.items import find_items, missing_items
from transformer_cli.deployment.protection.placement import (
    append_items,
    insert_items,
    remove_items,
    restore_altered,
)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("Visit https://x.org today.", "Visit today."),
        ("Visit https://x.org.", "Visit."),
        ("%d: A man sits.", "A man sits."),
        ("A man (45) sits.", "A man sits."),
        ("a <b>big</b> dog", "a big dog"),
        ("a <b> big </b> dog", "a big dog"),
        ("un<i>believ</i>able", "unbelievable"),
        ("one<br/>two", "one two"),
        ("{name}", ""),
    ],
)
def test_remove_items(line: str, expected: str) -> None:
    assert remove_items(line, find_items(line)).text == expected


@pytest.mark.parametrize(
    "line",
    [
        "Visit https://x.org today.",
        "Visit https://x.org.",
        "A man (45) sits at {place}.",
        "%d: A man sits.",
        "{name}, come here!",
        "a <b>big</b> dog",
        "<b>a <i>big</i></b> dog",
        "<i><b>a</b></i> dog",
        "<b></b>",
        "a <b><i></i></b> dog",
        "<b>{x}</b> and (%s)",
        "In 1998 the 3 men, at 10:30, slept.",
        "他有3只狗。",
        'A man said <b>"stop!"</b> and left.',
        "An API. ({x} #5) here.",
        "An API ({x}), here.",
        "The indices {x}, {y}.",
        "<b>Stop!</b> The <i>(big)</i>, old dog.",
    ],
)
def test_an_aligned_copy_gets_its_items_back_at_their_places(line: str) -> None:
    source = remove_items(line, find_items(line))
    assert insert_items(source.text.strip(), source, _copy(source.text)) == line


def _copy(source: str) -> Aligner:
    """The alignment of a text and a copy of it without spaces at its ends."""
    shift = len(source) - len(source.lstrip())
    return lambda start, end: (start - shift, end - shift)


def _by_words(source: str, target: str, links: list[tuple[int, int]]) -> Aligner:
    """An alignment from (source word, target word)."""

    def place(text: str, word: int) -> tuple[int, int]:
        words = text.split()
        start = sum(len(w) + 1 for w in words[:word])
        return start, start + len(words[word])

    def align(start: int, end: int) -> tuple[int, int] | None:
        words = [t for s, t in links if place(source, s)[0] < end and start < place(source, s)[1]]
        return (place(target, min(words))[0], place(target, max(words))[1]) if words else None

    return align


def test_items_follow_their_words() -> None:
    line = "The cat sees 3 dogs <b>today</b>."
    source = remove_items(line, find_items(line))
    target = "Heute sieht die Katze Hunde."
    links = [(0, 2), (1, 3), (2, 1), (3, 4), (4, 0)]
    align = _by_words(source.text, target, links)
    assert insert_items(target, source, align) == "<b>Heute</b> sieht die Katze 3 Hunde."


def test_a_pair_of_tags_has_the_punctuation_that_it_has_in_the_source() -> None:
    line = 'He said <b>"stop!"</b>, and left'
    source = remove_items(line, find_items(line))
    align = _by_words(source.text, 'Er ging, und "halt!", sagte er', [(0, 5), (1, 4), (2, 3), (3, 2), (4, 1)])
    assert insert_items('Er ging, und "halt!", sagte er', source, align) == 'Er ging, und <b>"halt!"</b>, sagte er'


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("See <b>{x} the dogs</b> now", "now <b>dogs {x} the</b> See"),
        ("See <b>the dogs {x}</b> now", "{x}"),
        ("See <b>{x} <i>the</i> dogs</b> now", "<b>dogs {x} <i>the</i></b>"),
    ],
)
def test_an_item_between_tags_remains_between_them(line: str, expected: str) -> None:
    source = remove_items(line, find_items(line))
    align = _by_words(source.text, "now dogs the See", [(0, 3), (1, 2), (2, 1), (3, 0)])
    assert expected in insert_items("now dogs the See", source, align)


def test_overlapping_pairs_of_tags_are_nested() -> None:
    line = "<b>a b</b> <i>c d</i>"
    source = remove_items(line, find_items(line))
    align = _by_words(source.text, "w x y z", [(0, 0), (1, 2), (2, 1), (3, 3)])
    text = insert_items("w x y z", source, align)
    assert not missing_items(text, find_items(line)), text


def test_without_alignment_every_item_is_inserted() -> None:
    line = "See <b>the {x}</b> or www.x.org 5 times"
    source = remove_items(line, find_items(line))
    text = insert_items("eins zwei", source, lambda start, end: None)
    assert not missing_items(text, find_items(line)), text


def test_nothing_is_inserted_into_fixed_parts() -> None:
    source = remove_items("a 5 b", find_items("a 5 b"))
    assert insert_items("New York City", source, lambda start, end: (4, 8), [(0, 8)]) == "New York 5 City"


@pytest.mark.parametrize(
    ("source", "translation", "expected"),
    [
        ("1,500 dogs", "1.500 Hunde", "1,500 Hunde"),
        ("in 1987 and 2001", "2001 und 1978", "2001 und 1987"),
        ("see www.x.org/page", "siehe www.x.org/pagina", "siehe www.x.org/page"),
        ("hi {name}", "hallo {Name}", "hallo {name}"),
        ("5 dogs", "72 Hunde", "72 Hunde"),
        ("5 dogs", "Hunde", "Hunde"),
    ],
)
def test_restore_altered(source: str, translation: str, expected: str) -> None:
    items = find_items(source)
    assert restore_altered(translation, missing_items(translation, items), items) == expected


def test_append_items() -> None:
    assert append_items("", find_items("5 and %s")) == "5 %s"
