"""The form of a file (table, JSON lines, TMX or plain text), recognised by its name and its beginning."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from transformer_cli.data.readers.streams import BUFFER, strip_compression
from transformer_cli.data.readers.tables import DELIMITERS, Dialect, sniff
from transformer_cli.errors import DataError

TEXT, TSV, CSV, JSONL, TMX = "text", "tsv", "csv", "jsonl", "tmx"
FORMS = (TEXT, TSV, CSV, JSONL, TMX)
"""The forms, by which `--data-format` overrules the recognition."""
BY_SUFFIX = {
    ".csv": CSV, ".tsv": TSV, ".tab": TSV, ".jsonl": JSONL, ".ndjson": JSONL, ".json": JSONL, ".tmx": TMX,
}  # fmt: skip
MIN_TABLE_LINES, MIN_TABLE_SHARE = 5, 0.95
"""Number of lines, and the share of them with the same number of tabs, from which a text is taken for a table."""


@dataclass(frozen=True)
class Form:
    """A form; with the dialect if it is a table."""

    name: str
    dialect: Dialect | None = None

    @property
    def description(self) -> str:
        names = {TSV: "a table (columns separated by tabs)", CSV: "a table (CSV)", JSONL: "JSON lines", TMX: "TMX"}
        return names.get(self.name, "plain text")


def recognise_pairs(path: Path, head: bytes, given: str | None) -> Form:
    """The form of a file of pairs.

    Args:
        head: the beginning of the file, in UTF-8.
        given: the form that the user names; None = recognise it.

    Raises:
        DataError: the file is not one of pairs.
    """
    lines = head_lines(head)
    named = BY_SUFFIX.get(strip_compression(path).suffix.lower(), "")
    form = given or _by_content(head, lines) or named
    if form == CSV:
        return Form(CSV, sniff(lines, DELIMITERS) or Dialect(",", True))
    if form == TSV:
        found = Dialect("\t", False) if given else sniff(lines, "\t")
        return Form(TSV, found or Dialect("\t", False))
    if form in (JSONL, TMX):
        return Form(form)
    if form == TEXT:
        raise DataError("--data reads files with both sides", hint="plain text: --src FILE --tgt FILE")
    table = sniff(lines, "\t") or sniff(lines, ",;|")
    if table is None:
        raise DataError(
            "its form is not recognised: no table, JSON lines or TMX",
            hint="one text file per language: --src FILE --tgt FILE; otherwise name the form: --data-format "
            + "|".join(FORMS[1:]),
        )
    return Form(TSV if table.delimiter == "\t" else CSV, table)


def recognise_text(path: Path, head: bytes) -> Form | None:
    """The form of a file that is given as plain text and evidently is not; None for text."""
    lines = head_lines(head)
    form = _by_content(head, lines)
    if form:
        return Form(form)
    tabs = [line.count("\t") for line in lines if line.strip()]
    if len(tabs) >= MIN_TABLE_LINES and tabs[0] and tabs.count(tabs[0]) >= MIN_TABLE_SHARE * len(tabs):
        return Form(TSV, Dialect("\t", False))
    if BY_SUFFIX.get(strip_compression(path).suffix.lower()) == CSV:
        dialect = sniff(lines, ",;|")
        return Form(CSV, dialect) if dialect else None
    return None


def refuse_pairs(path: Path, head: bytes) -> None:
    """Raises: DataError if a file that is given as plain text is a table, JSON lines or TMX."""
    form = recognise_text(path, head)
    if form is not None:
        raise DataError(
            f"is {form.description}, not plain text",
            hint=f"--data {path} reads its columns; --data-format text takes its lines as they are",
        )


def head_lines(head: bytes) -> list[str]:
    """The lines of the beginning of a file; the last is left out if it may be cut off."""
    lines = head.decode("utf-8", errors="replace").removeprefix("\ufeff").split("\n")
    if len(head) >= BUFFER and len(lines) > 1:
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


def _by_content(head: bytes, lines: Sequence[str]) -> str:
    """TMX or JSON lines, which are unmistakable; empty for other forms."""
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:4096]
    if start.startswith((b"<?xml", b"<tmx", b"<!DOCTYPE tmx")):
        if b"<tmx" in head[:BUFFER]:
            return TMX
        raise DataError("is XML, but not TMX", hint="export it as TMX, CSV or plain text")
    first = [line for line in lines if line.strip()][:2]
    if first and all(line.lstrip().startswith("{") and _is_object(line) for line in first):
        return JSONL
    if start.startswith(b"[") and _is_array(start):
        raise DataError(
            "is one JSON array", hint="write one object on each line, for example: jq -c '.[]' FILE > FILE.jsonl"
        )
    return ""


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _is_array(start: bytes) -> bool:
    return start[1:].lstrip()[:2] in (b'{"', b"[\"") or start[1:].lstrip().startswith(b"{\n")
