"""What the readers of pairs share: the pairs that they yield, and the report of what they met."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from transformer_cli.data.text import REPORTED_LINES, LineReport


class Row(NamedTuple):
    """A pair with the number, from 1, of the line of the file on which it begins."""

    line: int
    src: str
    tgt: str


class Columns(NamedTuple):
    """A choice of two columns by name or by number from 1."""

    src: str
    tgt: str


@dataclass
class PairReport:
    """How a file of pairs is read.

    Attributes:
        lines: repairs of its lines.
        form: its form with the columns, for the note that says how it was recognised.
        compression: how it is compressed or encoded; empty for plain UTF-8.
        texts: names and repairs of two text files that are read side by side.
        names: of the source and the target column; empty if they have none.
        odd: numbers of irregular records by kind, with the first lines.
    """

    lines: LineReport = field(default_factory=LineReport)
    form: str = ""
    compression: str = ""
    texts: list[tuple[str, LineReport]] = field(default_factory=list)
    names: tuple[str, str] = ("", "")
    odd: dict[str, tuple[int, list[int]]] = field(default_factory=dict)

    def count(self, kind: str, line: int) -> None:
        """Count an irregular record."""
        number, lines = self.odd.setdefault(kind, (0, []))
        if number < REPORTED_LINES:
            lines.append(line)
        self.odd[kind] = number + 1, lines

    def messages(self, name: str) -> list[str]:
        """One message for each kind of repair and of irregular record."""
        found = [
            f"{name}: {number:,} {kind} (lines {', '.join(map(str, lines))}{', ...' if number > len(lines) else ''})"
            for kind, (number, lines) in self.odd.items()
        ]
        texts = [message for text, lines in self.texts for message in lines.messages(text)]
        return texts + self.lines.messages(name) + found


class PairReader(Protocol):
    """Reads one form of file."""

    def __call__(self, lines: Iterator[str], columns: Columns | None, report: PairReport) -> Iterator[Row]:
        """Yield the pairs of a file.

        Args:
            lines: the lines of the file, without their ends.
            columns: None = the first two.
            report: receives `form` and `names` before the first pair.

        Raises:
            DataError: what cannot be read, with its line.
        """
        ...
