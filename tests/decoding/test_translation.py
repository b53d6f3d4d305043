"""When a translation is not one."""

from __future__ import annotations

import pytest

from transformer_cli.decoding.translation import is_damaged


@pytest.mark.parametrize(
    ("text", "source", "expected"),
    [
        ("Ein Hund.", "A dog.", False),
        ("", "A dog.", True),
        (" ", "A dog.", True),
        ("Ein \ufffd", "A dog.", True),
        ("Ein \ufffd", "A \ufffd", False),  # copied
        ("Ein \x11", "A dog.", True),
        ("Ein\tHund", "A\tdog", False),
    ],
)
def test_is_damaged(text: str, source: str, expected: bool) -> None:
    assert is_damaged(text, [source]) == expected
