"""Tables: CSV and TSV, as spreadsheets and corpus tools write them."""

from __future__ import annotations

import csv
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from transformer_cli.data.readers.languages import is_column_name, same_name
from transformer_cli.data.readers.pairs import Columns, PairReport, Row
from transformer_cli.errors import DataError

DELIMITERS = ",;\t|"
HEAD_LINES = 200
"""Lines at the beginning of a table by which its delimiter, quotes and header are recognised."""
MIN_REGULAR = 0.8
"""Share of the records at the beginning that must have the same number of columns."""


@dataclass(frozen=True)
class Dialect:
    """How the cells of a table are written."""

    delimiter: str
    quoted: bool

    @property
    def name(self) -> str:
        if self.delimiter == "\t":
            return "TSV with quoted cells" if self.quoted else "TSV"
        return "CSV" if self.delimiter == "," else f"CSV with '{self.delimiter}'"


@dataclass(frozen=True)
class Table:
    """Reader of a table; see `PairReader`."""

    dialect: Dialect

    def __call__(self, lines: Iterator[str], columns: Columns | None, report: PairReport) -> Iterator[Row]:
        skipped = 0
        first = next(lines, "")
        if first.casefold().startswith("sep=") and len(first) == 5:  # Excel's declaration of the delimiter
            skipped = 1
        else:
            lines = itertools.chain([first], lines)
        records = self._records(lines, skipped)
        head = list(itertools.islice(records, HEAD_LINES))
        layout = _layout(head, columns, self.dialect, report)
        width = Counter(len(cells) for _, cells in head).most_common(1)[0][0] if head else 2
        for number, (line, cells) in enumerate(itertools.chain(head, records)):
            if number == 0 and layout.header:
                continue
            if len(cells) != width and any(cells):
                if len(cells) <= max(layout.src, layout.tgt) or self.dialect.quoted:
                    report.count("records have another number of columns; they are taken as blank", line)
                    yield Row(line, _one_line(self.dialect.delimiter.join(cells)), "")
                    continue
            src, tgt = ((cells[i] if i < len(cells) else "") for i in (layout.src, layout.tgt))
            if "\n" in src or "\n" in tgt:
                report.count("pairs have a cell of several lines; these were joined", line)
            yield Row(line, _one_line(src), _one_line(tgt))

    def _records(self, lines: Iterator[str], skipped: int) -> Iterator[tuple[int, list[str]]]:
        """(number of the first line, cells) of each record."""
        if not self.dialect.quoted:
            for number, line in enumerate(lines, 1 + skipped):
                yield number, line.split(self.dialect.delimiter)
            return
        reader = csv.reader((line + "\n" for line in lines), delimiter=self.dialect.delimiter, strict=True)
        first = 1
        try:
            for cells in reader:
                yield first + skipped, cells
                first = reader.line_num + 1
        except csv.Error as error:
            tab = self.dialect.delimiter == "\t"
            raise DataError(
                f"line {first + skipped}: a cell that begins with a quotation mark is not closed as in CSV ({error})",
                hint="quotation marks inside it must be doubled"
                + ("; --data-format tsv takes quotation marks as text" if tab else ""),
            ) from None


@dataclass(frozen=True)
class _Layout:
    """Indices of the source and target column, and whether the first record is a header."""

    src: int
    tgt: int
    header: bool


def _layout(
    head: list[tuple[int, list[str]]], columns: Columns | None, dialect: Dialect, report: PairReport
) -> _Layout:
    cells = head[0][1] if head else []
    by_number = columns is not None and all(column.isdecimal() for column in columns)
    if columns is None or by_number:
        src, tgt = (int(c) - 1 for c in columns) if columns is not None else (0, 1)
        if min(src, tgt) < 0 or src == tgt:
            raise DataError(f"columns {src + 1} and {tgt + 1}: two different columns are needed, counted from 1")
        if head and max(src, tgt) >= max(len(record) for _, record in head):
            raise DataError(
                f"line {head[0][0]}: has {len(cells)} columns ({dialect.name}); column {max(src, tgt) + 1} is needed",
                hint="choose the columns with --columns, the form with --data-format, or use --src and --tgt",
            )
        chosen = [cells[i] for i in (src, tgt) if i < len(cells)]
        header = len(chosen) == 2 and all(map(is_column_name, chosen))
    else:
        src, tgt = (_find(column, cells) for column in columns)
        header = True
    names = (cells[src].strip(), cells[tgt].strip()) if header else ("", "")
    body = [record for _, record in head[header:]]
    for index, column in ((src, names[0]), (tgt, names[1])):
        values = [record[index].strip() for record in body if index < len(record) and record[index].strip()]
        if len(values) > 2 and all(value.isdecimal() for value in values):
            raise DataError(
                f"column {index + 1}{f' ({column!r})' if column else ''} has only numbers",
                hint=f"choose the columns of the text, for example: --columns {index + 2},{index + 3}",
            )
    report.names = names
    shown = f" ({names[0]!r}, {names[1]!r}), header skipped" if header else ", no header"
    report.form = f"{dialect.name}, columns {src + 1} and {tgt + 1}{shown}"
    return _Layout(src, tgt, header)


def _find(column: str, header: Sequence[str]) -> int:
    """The index of a column by its name, or by its number from 1."""
    for index, cell in enumerate(header):
        if cell.strip() and same_name(cell, column):
            return index
    if column.isdecimal() and 1 <= int(column) <= len(header):
        return int(column) - 1
    raise DataError(
        f"line 1: has no column {column!r}",
        hint=f"the columns are: {', '.join(header)[:200]}" if header else "the file is empty",
    )


def sniff(head: Sequence[str], delimiters: str) -> Dialect | None:
    """The dialect of a table by its first lines, or None if the lines are no table."""
    lines = [line for line in head[:HEAD_LINES] if line.strip()]
    if lines and lines[0].casefold().startswith("sep=") and len(lines[0]) == 5:
        return Dialect(lines[0][4], True)
    best: tuple[float, Dialect] | None = None
    for delimiter in delimiters:
        quoted = delimiter != "\t" or _has_quoted_cells(lines)
        if quoted:
            records = _parse(lines, delimiter)
        else:
            records = [line.split(delimiter) for line in lines]
        widths = Counter(map(len, records))
        width, number = widths.most_common(1)[0] if widths else (1, 0)
        share = number / max(1, len(records))
        if width > 1 and share >= MIN_REGULAR and (best is None or share > best[0]):
            best = share, Dialect(delimiter, quoted)
    return best[1] if best else None


def _has_quoted_cells(lines: Sequence[str]) -> bool:
    """Whether the cells of a TSV that begin with a quotation mark are all quoted as in CSV, and there are some."""
    cells = [cell for line in lines for cell in line.split("\t") if cell.startswith('"')]
    return bool(cells) and all(
        len(cell) > 1 and cell.endswith('"') and '"' not in cell[1:-1].replace('""', "") for cell in cells
    )


def _parse(lines: Sequence[str], delimiter: str) -> list[list[str]]:
    """The records of some lines, of which the last may be cut off."""
    records: list[list[str]] = []
    try:
        records.extend(csv.reader((line + "\n" for line in lines), delimiter=delimiter))
    except csv.Error:
        pass
    return records[:-1] if len(records) > 2 else records


def _one_line(text: str) -> str:
    return " ".join(text.split("\n")) if "\n" in text else text
