"""TMX, the exchange format of translation memories, read as a stream with bounded memory.

Entities are refused, external files and the network are never used.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO
from xml.parsers import expat

from transformer_cli.data.readers.languages import same_name
from transformer_cli.data.readers.pairs import Columns, PairReport, Row
from transformer_cli.data.readers.streams import BUFFER
from transformer_cli.data.text import one_line
from transformer_cli.errors import DataError

MAX_SEGMENT = 1 << 20
"""Maximum characters of one segment."""
MAX_PENDING = 16 << 20
"""Maximum bytes of one tag or piece of markup."""
MARKUP = frozenset({"bpt", "ept", "ph", "it", "ut"})
"""Inline elements whose content is formatting code, not text."""


def read_tmx(
    stream: BinaryIO, columns: Columns | None, report: PairReport, *, encoding: str | None = None
) -> Iterator[Row]:
    """The pairs of a TMX file, by default in the first two languages that a unit has.

    Args:
        stream: the bytes of the file.
        encoding: that of `stream` if it is not what the XML declaration says.

    Raises:
        DataError: malformed XML, entities, or no unit in both languages; with the line.
    """
    units = _Units()
    parser = expat.ParserCreate(encoding)
    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
    parser.buffer_text = True
    parser.StartElementHandler = units.start
    parser.EndElementHandler = units.end
    parser.CharacterDataHandler = units.text
    parser.EntityDeclHandler = _refuse_entities
    units.parser = parser
    fed, found = 0, False
    languages: Columns | None = columns
    data = b"start"
    while data:
        data = stream.read(BUFFER)
        try:
            parser.Parse(data, not data)
        except expat.ExpatError as error:
            raise DataError(
                f"line {error.lineno}: is not well-formed XML: {expat.ErrorString(error.code)}",
                hint="export the translation memory again, or correct that line",
            ) from None
        except (LookupError, ValueError) as error:  # of the encoding in the XML declaration
            raise DataError(
                f"line 1: its encoding is not supported: {error}", hint="convert the file to UTF-8"
            ) from None
        fed += len(data)
        if fed - max(0, parser.CurrentByteIndex) > MAX_PENDING:
            raise DataError(f"line {parser.CurrentLineNumber}: a tag of more than {MAX_PENDING >> 20} MiB")
        while units.done:
            line, variants = units.done.popleft()
            if languages is None and len(variants) > 1:
                languages = Columns(*list(variants)[:2])
            pair = [_variant(variants, language) for language in languages or ()]
            if len(pair) < 2 or None in pair:
                report.count("units lack one of the two languages; they are left out", line)
                continue
            if not found:
                assert languages is not None
                report.names = languages.src, languages.tgt
                report.form = f"TMX, languages {languages.src!r} and {languages.tgt!r}"
                found = True
            yield Row(line, one_line(pair[0] or "").strip(), one_line(pair[1] or "").strip())
    if not found:
        seen = ", ".join(sorted(units.languages)) or "none"
        wanted = " and ".join(map(repr, languages)) if languages else "two languages"
        raise DataError(f"no unit has text in {wanted}", hint=f"languages in the file: {seen}")


def _variant(variants: dict[str, str], language: str) -> str | None:
    """The text in a language: the exact code, or else one with or without a region."""
    if language in variants:
        return variants[language]
    return next((text for name, text in variants.items() if same_name(name, language)), None)


def _refuse_entities(*_: Any) -> None:
    raise DataError("declares XML entities, which are not expanded for safety", hint="remove the DOCTYPE's entities")


@dataclass
class _Units:
    """The translation units that the parser has finished: (line, text by language)."""

    done: deque[tuple[int, dict[str, str]]] = field(default_factory=deque)
    languages: set[str] = field(default_factory=set)
    parser: Any = None
    _line: int = 0
    _unit: dict[str, str] = field(default_factory=dict)
    _language: str = ""
    _parts: list[str] | None = None
    _size: int = 0
    _markup: int = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "tu":
            self._line, self._unit = self.parser.CurrentLineNumber, {}
        elif tag == "tuv":
            self._language = attributes.get("xml:lang") or attributes.get("lang") or ""
            if len(self.languages) < 100:
                self.languages.add(self._language)
        elif tag == "seg":
            self._parts, self._size = [], 0
        elif tag in MARKUP:
            self._markup += 1

    def end(self, tag: str) -> None:
        if tag == "tu":
            self.done.append((self._line, self._unit))
            self._unit = {}
        elif tag == "seg" and self._parts is not None:
            if self._language and len(self._unit) < 100:
                self._unit.setdefault(self._language, "".join(self._parts))
            self._parts = None
        elif tag in MARKUP:
            self._markup -= 1

    def text(self, text: str) -> None:
        if self._parts is None or self._markup:
            return
        self._size += len(text)
        if self._size > MAX_SEGMENT:
            raise DataError(f"line {self._line}: a segment of more than {MAX_SEGMENT:,} characters")
        self._parts.append(text)
