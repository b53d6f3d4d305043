"""Filters by what must be the same on both sides, and by damaged text."""

from __future__ import annotations

import pytest

from transformer_cli.data.filters.base import Pair, PairFilter
from transformer_cli.data.filters.content import (
    CopiedSource,
    DamagedText,
    NumberMismatch,
    PlaceholderMismatch,
    TagMismatch,
    UrlMismatch,
)

CASES: list[tuple[PairFilter, str, str, bool]] = [
    (CopiedSource(4), "one two three four", "one two three four ", True),
    (CopiedSource(4), "New York City", "New York City", False),
    (CopiedSource(4), "我们走吧", "我们走吧", True),
    (DamagedText(), "fine", "f\x02ine", True),
    (DamagedText(), "fine", "f\ufffdine", True),
    (DamagedText(), "fine", "fÃ¼r die GrÃ¶ÃŸe", True),
    (DamagedText(), "fine", "für die Größe – „schön“ ไทย 你好 ñ", False),
    (NumberMismatch(), "in 1998", "1989", True),
    (NumberMismatch(), "in 1998", "neunzehnhundert", False),
    (NumberMismatch(), "1,500.00 euros", "1.500,00 Euro", False),
    (NumberMismatch(), "1.5 million people, 120 of them", "1 500 000 Menschen, 120 davon", False),
    (NumberMismatch(), "20,000 people", "2万人", False),
    (NumberMismatch(), "at 3:30 pm", "um 15:30", False),
    (NumberMismatch(), "๑๙๙๘", "1998", False),
    (UrlMismatch(), "see www.example.org", "siehe", True),
    (UrlMismatch(), "see https://a.org/en.", "siehe https://a.org/de.", False),
    (UrlMismatch(), "mail a.b@example.org", "Mail an uns", True),
    (UrlMismatch(), "@home", "daheim", False),
    (PlaceholderMismatch(), "Hello {name}, %d files", "Hallo {name}, %d Dateien", False),
    (PlaceholderMismatch(), "Hello {name}", "Hallo", True),
    (PlaceholderMismatch(), "%s of %s", "%s", True),
    (PlaceholderMismatch(), "50% sure", "50 % sicher", False),
    (PlaceholderMismatch(), "%1$s and %(x)s", "%(x)s und %1$s", False),
    (TagMismatch(), "<b>bold</b>", "<b>fett</b>", False),
    (TagMismatch(), "<b>bold</b>", "fett", True),
    (TagMismatch(), "a < b and c > d", "a < b", False),
    (TagMismatch(), '<a href="x">', '<a href="y">', False),
]


@pytest.mark.parametrize(("judge", "src", "tgt", "rejected"), CASES)
def test_content(judge: PairFilter, src: str, tgt: str, rejected: bool) -> None:
    assert judge.flag([Pair(1, src, tgt)]) == [rejected]
