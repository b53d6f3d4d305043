"""Filters by what must be the same on both sides, and by damaged text."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from transformer_cli.data.filters.base import Pair, PairFilter

CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\ufffd\ufffe\uffff\ue000-\uf8ff]")
"""Control characters, the replacement character, non-characters and private use."""
NUMBER = re.compile(r"\d+(?:[.,' \u00a0\u202f]\d+)*")
"""A number with its separators."""
LONG_NUMBER = 3
"""Digits from which a number must occur on both sides; shorter ones are often written as words."""
URL = re.compile(r"(?:https?://|www\.)[^\s<>\"'）)\]]+|[\w.+-]+@[\w-]+\.[\w.-]+", re.IGNORECASE)
PLACEHOLDER = re.compile(r"\{\{?\w*\}?\}|\$\{\w+\}|(?<![\d%])%(?:\(\w+\)|\d+\$)?[sdifxc]\b|%\d\b")
TAG = re.compile(r"</?([A-Za-z][\w-]{0,15})(?:\s[^<>]{0,200})?/?>")
ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,30});")
"""An HTML entity."""


@dataclass(frozen=True)
class CopiedSource(PairFilter):
    """A target of at least `min_words` words that equals the source."""

    min_words: int
    key = "copies"
    reason = "source equals target"
    advice = "not translated; many such pairs teach the model to copy"

    def rejects(self, pair: Pair) -> bool:
        return pair.src == pair.tgt and len(pair.src_words) >= self.min_words


@dataclass(frozen=True)
class DamagedText(PairFilter):
    """Control and replacement characters, and text that was decoded with a wrong encoding."""

    key = "damaged"
    reason = "damaged text"
    advice = "control characters, U+FFFD, or a wrong encoding (mojibake); clean --normalize encoding repairs some"

    def rejects(self, pair: Pair) -> bool:
        return any(CONTROL.search(side) or (not side.isascii() and _is_mojibake(side)) for side in pair.sides)


@dataclass(frozen=True)
class NumberMismatch(PairFilter):
    """Both sides have a number of three or more digits that the other side does not have.

    Numbers are compared by their digits without zeros at the ends: 1,500.00, 1500 and 1.5 million are the same.
    """

    key = "numbers"
    reason = "number mismatch"
    advice = "probably not translations of each other"

    def rejects(self, pair: Pair) -> bool:
        src, tgt = NUMBER.findall(pair.src), NUMBER.findall(pair.tgt)
        if not src or not tgt:
            return False
        src_digits, tgt_digits = list(map(_digits, src)), list(map(_digits, tgt))
        return _misses(src_digits, tgt_digits) and _misses(tgt_digits, src_digits)


@dataclass(frozen=True)
class UrlMismatch(PairFilter):
    """Different numbers of URLs and e-mail addresses."""

    key = "urls"
    reason = "URL mismatch"
    advice = "a URL or an e-mail address is missing on one side"

    def rejects(self, pair: Pair) -> bool:
        if not any(mark in side for side in pair.sides for mark in ("://", "www.", "WWW.", "@")):
            return False
        return len(URL.findall(pair.src)) != len(URL.findall(pair.tgt))


@dataclass(frozen=True)
class PlaceholderMismatch(PairFilter):
    """Different placeholders: `{name}`, `%s`, `%1`, `${x}`."""

    key = "placeholders"
    reason = "placeholder mismatch"
    advice = "a {placeholder} or %s is missing on one side; the model learns to lose them"

    def rejects(self, pair: Pair) -> bool:
        if not any(mark in side for side in pair.sides for mark in "{%"):
            return False
        return sorted(PLACEHOLDER.findall(pair.src)) != sorted(PLACEHOLDER.findall(pair.tgt))


@dataclass(frozen=True)
class TagMismatch(PairFilter):
    """Different tags of HTML or XML."""

    key = "tags"
    reason = "tag mismatch"
    advice = "a <tag> is missing on one side; the model learns to lose them"

    def rejects(self, pair: Pair) -> bool:
        if "<" not in pair.src and "<" not in pair.tgt:
            return False
        return sorted(TAG.findall(pair.src)) != sorted(TAG.findall(pair.tgt))


def _is_mojibake(text: str) -> bool:
    from ftfy.badness import is_bad  # only where it is needed: it takes a twentieth of a second

    return bool(is_bad(text))


def number_digits(number: str) -> str:
    """The digits of a number without its separators, as ASCII."""
    return "".join(str(int(c)) for c in number if c.isdecimal())


def _digits(number: str) -> tuple[str, int]:
    """The digits of a number without zeros at the ends, and how many it had."""
    digits = number_digits(number)
    return digits.strip("0"), len(digits)


def _misses(numbers: Iterable[tuple[str, int]], others: Iterable[tuple[str, int]]) -> bool:
    """Whether one of the long numbers is not among the others."""
    present = {digits for digits, _ in others}
    return any(length >= LONG_NUMBER and digits not in present for digits, length in numbers)
