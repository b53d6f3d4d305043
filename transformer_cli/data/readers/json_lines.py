"""JSON lines: one object with the source and the target on each line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from transformer_cli.data.readers.languages import same_name
from transformer_cli.data.readers.pairs import Columns, PairReport, Row
from transformer_cli.data.text import one_line
from transformer_cli.errors import DataError


def read_json_lines(lines: Iterator[str], columns: Columns | None, report: PairReport) -> Iterator[Row]:
    """The pairs of JSON lines; see `PairReader`. The columns are fields, also of an object that is a field alone.

    A field of such an object, `{"translation": {"en": ..., "de": ...}}`, is named without its parent.
    """
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        fields = _fields(line, number)
        if columns is None:
            texts = [name for name, value in fields.items() if isinstance(value, str)]
            if len(texts) < 2:
                raise DataError(f"line {number}: has fewer than two fields of text", hint=f"fields: {_names(fields)}")
            columns = Columns(texts[0], texts[1])
        if not report.form:
            report.names = _find(columns.src, fields, number), _find(columns.tgt, fields, number)
            report.form = f"JSON lines, fields {report.names[0]!r} and {report.names[1]!r}"
        pair = []
        for name in report.names:
            value = fields.get(name, "")
            if not (isinstance(value, str) or value is None):
                raise DataError(f"line {number}: the field {name!r} is not text: {value!r:.60}")
            if name not in fields:
                raise DataError(f"line {number}: has no field {name!r}", hint=f"fields: {_names(fields)}")
            pair.append(one_line(value or ""))
        yield Row(number, *pair)


def _fields(line: str, number: int) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"line {number}: is not a JSON object: {error}") from None
    if isinstance(value, dict):
        nested = [child for child in value.values() if isinstance(child, dict)]
        if len(nested) == 1 and not any(isinstance(child, str) for child in value.values()):
            value = nested[0]
        return value
    raise DataError(
        f"line {number}: is not a JSON object", hint="each line must be an object such as {{\"en\": ..., \"de\": ...}}"
    )


def _find(column: str, fields: dict[str, Any], number: int) -> str:
    found = [name for name in fields if name == column] or [name for name in fields if same_name(name, column)]
    if not found:
        raise DataError(f"line {number}: has no field {column!r}", hint=f"fields: {_names(fields)}")
    return found[0]


def _names(fields: dict[str, Any]) -> str:
    return ", ".join(fields)[:200]
