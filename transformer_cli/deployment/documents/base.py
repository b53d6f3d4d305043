"""What the formats of documents have in common.

In the text of a segment, single characters stand for its markup, such as tags, so that a segment is one string and
its translation another one with the same codes at their new places.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Protocol

from transformer_cli.deployment.protection.items import Item
from transformer_cli.deployment.protection.placement import separates
from transformer_cli.errors import DataError

MAX_BYTES = 32 << 20
"""Maximum size of a document, and of a part of a compressed one; the markup takes several times as much memory."""
FIRST_CODE, LAST_CODE = 0x100000, 0x10FFFD
"""Codes are characters of a private use area: four for each markup, by `KINDS`."""
KINDS = ("opening", "closing", "mark", "object")
"""Start and end of a pair around text; markup between characters; markup that stands for a word, as code does."""
MAX_CODES = 500
"""Markup in a segment from which a format should begin another one: placing it takes time."""
CODE = re.compile(f"[{chr(FIRST_CODE)}-{chr(LAST_CODE)}]")


class UnsupportedDocumentError(DataError):
    """A document of a format that cannot be translated."""


class DocumentTooLargeError(DataError):
    """A document that is larger than a limit."""


@dataclass(frozen=True)
class Segment:
    """A part of a document that is translated on its own.

    Attributes:
        text: with codes; see `CodedText`.
        place: where it is, such as `line 12`, for messages.
        flows: spaces and line breaks between words only format the source, and may become one space.
    """

    text: str
    place: str
    flows: bool = False


class Document(Protocol):
    """A document that was read.

    Attributes:
        segments: its text, in order.
        language: that of the text by what the document says; empty if it does not say.
        notes: for the user, about text that is not translated.
    """

    @property
    def segments(self) -> Sequence[Segment]: ...
    @property
    def language(self) -> str: ...
    @property
    def notes(self) -> Sequence[str]: ...

    def render(self, translations: Sequence[str], language: str) -> bytes:
        """The document with these texts instead of those of the segments; an equal text changes nothing.

        Args:
            translations: one for each segment, with the same codes.
            language: of the translations; empty if it is not known.
        """
        ...


class CodedText:
    """Builds the text of a segment.

    Attributes:
        values: what the document knows about each markup, by its index.
    """

    def __init__(self) -> None:
        self._parts: list[str] = []
        self.values: list[Any] = []

    def __str__(self) -> str:
        return "".join(self._parts)

    @property
    def is_full(self) -> bool:
        """Whether there is so much markup that another segment should begin."""
        return len(self.values) >= MAX_CODES

    def add(self, text: str) -> None:
        """Append text. A character that looks like a code becomes a mark. Raises: DataError: too many of them."""
        position = 0
        for match in CODE.finditer(text):
            self._parts.append(text[position : match.start()])
            self.mark(_Character(match[0]))
            position = match.end()
        self._parts.append(text[position:])

    def open(self, value: Any) -> int:
        """Append the start of a pair. Returns its index."""
        return self._code("opening", value)

    def close(self, index: int) -> None:
        """Append the end of a pair."""
        self._parts.append(_character(index, "closing"))

    def mark(self, value: Any) -> int:
        """Append markup that takes no space."""
        return self._code("mark", value)

    def object(self, value: Any) -> int:
        """Append markup that stands for a word."""
        return self._code("object", value)

    def _code(self, kind: str, value: Any) -> int:
        if FIRST_CODE + len(KINDS) * (len(self.values) + 1) > LAST_CODE:
            raise DocumentTooLargeError(f"has more than {len(self.values):,} tags in one paragraph")
        self.values.append(value)
        self._parts.append(_character(len(self.values) - 1, kind))
        return len(self.values) - 1


def pair_tags(tags: Sequence[tuple[str, bool]]) -> dict[int, int]:
    """The pairs among tags (name, whether it is closing): index of the opening tag -> that of the closing one.

    They are nested. A tag without a partner is in none.
    """
    pairs: dict[int, int] = {}
    stack: list[int] = []
    opened: Counter[str] = Counter()
    for index, (name, is_closing) in enumerate(tags):
        if not is_closing:
            stack.append(index)
            opened[name] += 1
        elif opened[name]:
            while tags[opening := stack.pop()][0] != name:
                opened[tags[opening][0]] -= 1
            opened[name] -= 1
            pairs[opening] = index
    return pairs


@dataclass(frozen=True)
class _Character:
    """A character of a document that looks like a code."""

    text: str


def _character(index: int, kind: str) -> str:
    return chr(FIRST_CODE + len(KINDS) * index + KINDS.index(kind))


def pieces(text: str, values: Sequence[Any]) -> Iterator[str | tuple[str, Any]]:
    """The parts of a coded text: text, and (kind, value) of each code. `values` as in `CodedText`."""
    position = 0
    for match in CODE.finditer(text):
        if match.start() > position:
            yield text[position : match.start()]
        position = match.end()
        index, kind = divmod(ord(match[0]) - FIRST_CODE, len(KINDS))
        value = values[index]
        yield value.text if isinstance(value, _Character) else (KINDS[kind], value)
    if position < len(text):
        yield text[position:]


@dataclass(frozen=True)
class Code(Item):
    """A code in a text.

    Attributes:
        index: of its markup if it is one of a pair; the two have the same.
        touches: it is a part of a word or of its punctuation: no spaces separate it.
    """

    index: int = -1
    touches: bool = False

    @property
    def is_opening(self) -> bool:
        return self.kind == "opening"

    @property
    def is_closing(self) -> bool:
        return self.kind == "closing"

    @property
    def is_inline(self) -> bool:
        return self.is_opening or self.is_closing or self.touches

    @property
    def name(self) -> str:
        return str(self.index)


def find_codes(text: str) -> list[Code]:
    """The codes of a text, from left to right. Marks and objects next to each other are one."""
    codes: list[Code] = []
    for match in re.finditer(f"(?:{CODE.pattern})+", text):
        before, after = text[max(0, match.start() - 1) : match.start()], text[match.end() : match.end() + 1]
        spaced = (not before or before.isspace()) and (not after or after.isspace())
        joined = before and separates(before, after=True) and not before.isspace()
        joined = joined or (after and separates(after, after=False) and not after.isspace())
        for (index, pair), group in groupby(enumerate(match[0], match.start()), _group):
            places, characters = zip(*group, strict=True)
            kinds = [KINDS[(ord(character) - FIRST_CODE) % len(KINDS)] for character in characters]
            kind = pair or ("object" if "object" in kinds else "mark")
            touches = bool(joined) if kind == "object" else not spaced
            codes.append(Code(kind, places[0], places[-1] + 1, "".join(characters), (), index, touches))
    return codes


def _group(code: tuple[int, str]) -> tuple[int, str]:
    """Index and kind of a code of a pair; the same for all others."""
    index, kind = divmod(ord(code[1]) - FIRST_CODE, len(KINDS))
    return (index, KINDS[kind]) if KINDS[kind] in ("opening", "closing") else (-1, "")


def peel(text: str) -> tuple[str, str, str]:
    """Split a text into markup and spaces before it, the text, and markup and spaces after it.

    A pair of which only one end is outside stays in the text as a whole.
    """
    visible = [m.start() for m in re.finditer(rf"(?!{CODE.pattern})\S", text)]
    if not visible:
        return text, "", ""
    start, end = visible[0], visible[-1] + 1
    places: dict[int, list[int]] = {}
    for code in find_codes(text):
        if code.index >= 0:
            places.setdefault(code.index, []).append(code.start)
    pairs = [(found[0], found[-1]) for found in places.values() if len(found) > 1]
    grows = True
    while grows:
        grows = False
        for opening, closing in pairs:
            if opening < start <= closing < end:
                start, grows = opening, True
            elif start <= opening < end <= closing:
                end, grows = closing + 1, True
    return text[:start], text[start:end], text[end:]
