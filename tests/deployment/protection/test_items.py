"""Which parts of a line are protected, and which of them a translation lacks."""

from __future__ import annotations

import pytest

from transformer_cli.deployment.protection.items import find_items, is_balanced, missing_items, other_items


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("A dog runs.", []),
        ("See https://x.org/a?b=1, or www.y.net.", ["https://x.org/a?b=1", "www.y.net"]),
        ("Mail me@foo.com.", ["me@foo.com"]),
        ("At 10:30 on 2016-05-12", ["10:30", "2016-05-12"]),
        ("In 2016 3 men paid $1,500.00 and 5%.", ["2016", "3", "$1,500.00", "5%"]),
        ("10 000 of 3 1990s MP3", ["10 000", "3", "1990s", "MP3"]),
        ("a 12-year-old boy", ["12"]),
        ("{name}, %s, %(n)s, ${x} and {{y}}", ["{name}", "%s", "%(n)s", "${x}", "{{y}}"]),
        ("a 'foo' ({0}) \"%d\"", ["({0})", '"%d"']),
        ("a <b>big</b> <br/> dog", ["<b>", "</b>", "<br/>"]),
        ("a < b and c > d", []),
        ("看https://x.com的3个人，请联系foo@bar.com", ["https://x.com", "3", "foo@bar.com"]),
        ("{a}{b}", ["{a}{b}"]),
    ],
)
def test_find_items(line: str, expected: list[str]) -> None:
    items = find_items(line)
    assert [item.text for item in items] == expected
    assert all(line[item.start : item.end] == item.text for item in items)
    assert not missing_items(line, items)


@pytest.mark.parametrize(
    ("source", "translation", "missing"),
    [
        ("15 dogs", "15 Hunde", []),
        ("15 dogs", "150 Hunde", ["15"]),
        ("15 and 15", "15 Hunde", ["15"]),
        ("the 1990s", "die 1990er", []),
        ("1,500 dogs", "1.500 Hunde", ["1,500"]),
        ("at 10:30", "um 10 Uhr 30", []),
        ("see www.x.org", "siehe www.x.com", ["www.x.org"]),
        ("a <b>big</b> dog", "ein <b>großer</b> Hund", []),
        ("a <b>big</b> dog", "ein </b>großer<b> Hund", ["<b>", "</b>"]),
        ("a <b>big</b> dog", "ein <b>großer Hund", ["<b>", "</b>"]),
        ("a <b>big</b> dog", "<b>ein</b> <b>großer</b> Hund", ["<b>", "</b>"]),
        ("a </b> dog", "ein </b> Hund", []),
    ],
)
def test_missing_items(source: str, translation: str, missing: list[str]) -> None:
    assert [item.text for item in missing_items(translation, find_items(source))] == missing


def test_other_items_are_those_that_the_source_does_not_have() -> None:
    others = other_items("1.500 und 7 und {Name} <b>", find_items("1,500 and 7 and {name}"))
    assert [(item.kind, item.text) for item in others] == [("number", "1.500"), ("placeholder", "{Name}")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<b>a</b>", True),
        ("<b><i>a</i></b><br/>", True),
        ("<b><i>a</b></i>", False),
        ("</b>", False),
        ("<b>", False),
    ],
)
def test_is_balanced(text: str, expected: bool) -> None:
    assert is_balanced(find_items(text)) == expected
