"""Finds the items that a translation must contain exactly: URLs, e-mail addresses, numbers, placeholders, tags."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from transformer_cli.data.filters.content import NUMBER, PLACEHOLDER, TAG, URL
from transformer_cli.unicode_scripts import UNSPACED

ITEM = re.compile(
    f"(?P<tag>{TAG.pattern})|(?P<url>(?i:{URL.pattern}))"
    f"|(?P<placeholder>{PLACEHOLDER.pattern})|(?P<number>{NUMBER.pattern})"
)
GROUPED = re.compile(r"\d{1,3}(?: \d{3})+(?!\d)")
"""A number whose thousands are separated by spaces; other spaces are between two numbers."""
SENTENCE_PUNCTUATION = ".,;:!?…"
"""Not part of a URL when it ends with it."""
URL_START = re.compile(r"https?://|www\.", re.IGNORECASE)
UNSPACED_PUNCTUATION = re.compile("[\u3001-\u303f\uff01-\uff1f\u2018-\u201f]")
LEFT_SIGNS, RIGHT_SIGNS = "$€£¥#§№±", "%‰°$€£¥"
"""Signs that stay with a number."""
JOINTS = ":/-–×"
"""Characters that join the numbers of a time, a date or a ratio."""
PAIRS = {"(": ")", "[": "]", '"': '"', "'": "'", "“": "”", "„": "“", "«": "»", "‘": "’"}
"""Brackets and quotation marks that stay with an item of which they are the only content."""


@dataclass(frozen=True)
class Item:
    """A part of a line that must not be translated.

    Attributes:
        kind: `tag`, `url` (also e-mail addresses), `placeholder` or `number`.
        start, end: its place in the line. A number includes letters and signs next to it: `$5`, `10:30`, `1990s`.
        text: `line[start:end]`.
        required: what must occur in the translation; of a number, only its digits and separators.
    """

    kind: str
    start: int
    end: int
    text: str
    required: tuple[str, ...]

    @property
    def is_closing(self) -> bool:
        """Whether it is a closing tag, `</b>`."""
        return self.kind == "tag" and self.text.startswith("</")

    @property
    def is_opening(self) -> bool:
        """Whether it is an opening tag, `<b>`."""
        return self.kind == "tag" and not self.text.startswith("</") and not self.text.endswith("/>")

    @property
    def is_inline(self) -> bool:
        """Whether it touches the words next to it, without spaces of its own."""
        return self.is_opening or self.is_closing

    @property
    def name(self) -> str:
        """The name of a tag, which an opening tag and its closing tag share: `b` of `<b>` and of `</b>`."""
        return self.text.strip("</>").split()[0]


def find_items(line: str) -> list[Item]:
    """The items of a line, from left to right, with what belongs to them; they do not overlap."""
    items: list[Item] = []
    for item in _matches(line):
        start, end = (item.start, item.end) if item.kind == "tag" else _extend(line, item)
        required, kind = item.required, item.kind
        if items and kind != "tag" and items[-1].kind != "tag":
            joins = line[items[-1].end : start]
            is_joined = kind == items[-1].kind == "number" and len(joins) == 1 and joins in JOINTS
            if start <= items[-1].end or is_joined:
                last = items.pop()
                start, required, kind = min(start, last.start), last.required + required, last.kind
        elif items:
            start = max(start, items[-1].end)
        items.append(Item(kind, start, end, line[start:end], required))
    return items


def missing_items(text: str, items: Sequence[Item]) -> list[Item]:
    """The items that a translation does not contain. If a tag is missing, or one is too many, all tags are."""
    found = Counter(part for item in _matches(text) for part in item.required)
    tags = [item for item in items if item.kind == "tag"]
    missing = []
    for item in items:
        needed = Counter(item.required)
        if item.kind == "tag":
            continue
        if needed <= found:
            found -= needed
        else:
            missing.append(item)
    if tags and not _has_same_tags(text, tags):
        missing += tags
    return sorted(missing, key=lambda item: item.start)


def other_items(text: str, items: Sequence[Item]) -> list[Item]:
    """URLs, placeholders and numbers of a translation that are none of the items: probably altered ones."""
    expected = Counter(part for item in items for part in item.required)
    others = []
    for item in _matches(text):
        if expected[item.text]:
            expected[item.text] -= 1
        elif item.kind != "tag":
            others.append(item)
    return others


def _matches(line: str) -> list[Item]:
    """The items of a line without what belongs to them."""
    items = []
    position = 0
    while match := ITEM.search(line, position):
        kind = str(match.lastgroup)
        start, end = _trim(line, kind, match.start(), match.end())
        items.append(Item(kind, start, end, line[start:end], (line[start:end],)))
        position = max(end, start + 1)
    return items


def _trim(line: str, kind: str, start: int, end: int) -> tuple[int, int]:
    """The place of a match, without the text next to it that the pattern includes."""
    if kind == "number" and " " in line[start:end] and not GROUPED.fullmatch(line[start:end]):
        grouped = GROUPED.match(line, start, end)
        return start, grouped.end() if grouped else line.index(" ", start)
    if kind == "url":
        if not URL_START.match(line, start):  # an e-mail address: characters before it match \w
            before = [m.end() for m in UNSPACED.finditer(line, start, line.index("@", start))]
            start = before[-1] if before else start
        after = UNSPACED.search(line, start, end) or UNSPACED_PUNCTUATION.search(line, start, end)
        end = after.start() if after else end
        end = start + len(line[start:end].rstrip(SENTENCE_PUNCTUATION))
    return start, end


def _extend(line: str, item: Item) -> tuple[int, int]:
    """The place of an item with the letters, signs, brackets and quotation marks that belong to it."""
    start, end = item.start, item.end
    if item.kind != "url":
        while start and _is_letter(line[start - 1]):
            start -= 1
        while end < len(line) and _is_letter(line[end]):
            end += 1
    if item.kind == "number":
        while start and line[start - 1] in LEFT_SIGNS:
            start -= 1
        while end < len(line) and line[end] in RIGHT_SIGNS:
            end += 1
    while start and end < len(line) and PAIRS.get(line[start - 1]) == line[end]:
        start, end = start - 1, end + 1
    return start, end


def _is_letter(character: str) -> bool:
    return (character.isalnum() or character == "_") and not UNSPACED.match(character)


def _has_same_tags(text: str, tags: Sequence[Item]) -> bool:
    """Whether a translation has these tags, and each closing tag after an opening one if the source is so."""
    found = [item for item in _matches(text) if item.kind == "tag"]
    if Counter(item.text for item in found) != Counter(item.text for item in tags):
        return False
    return is_balanced(found) or not is_balanced(tags)


def is_balanced(tags: Sequence[Item]) -> bool:
    """Whether each closing tag closes the last open one, and none stays open."""
    open_tags: list[str] = []
    for tag in tags:
        if tag.is_opening:
            open_tags.append(tag.name)
        elif tag.is_closing and (not open_tags or open_tags.pop() != tag.name):
            return False
    return not open_tags
