"""The files of a corpus as one stream of pairs: text files side by side, or files that hold both sides."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from transformer_cli.data.directions import DirectedFiles, Direction
from transformer_cli.data.readers.forms import (FORMS, JSONL, TEXT, TMX, Form, recognise_pairs, recognise_text, refuse_pairs)
from transformer_cli.data.readers.json_lines import read_json_lines
from transformer_cli.data.readers.languages import language_code, suffix_of
from transformer_cli.data.readers.pairs import Columns, PairReport, Row
from transformer_cli.data.readers.streams import BUFFER, open_text, strip_compression
from transformer_cli.data.readers.tables import Table
from transformer_cli.data.readers.tmx import read_tmx
from transformer_cli.data.text import LineReport, iter_lines, open_file
from transformer_cli.errors import ConfigError, DataError


REPLACEMENT = "\ufffd"
"""What stands for bytes that are not UTF-8."""


class PairSource(Protocol):
    """A part of a corpus, which can be read several times unless it is a pipe."""

    @property
    def path(self) -> Path:
        """The file by which places are named; the source file if there are two."""
        ...

    @property
    def paths(self) -> tuple[Path, ...]:
        """All its files."""
        ...

    def rows(self, report: PairReport) -> Iterator[Row]:
        """Read the pairs, and update `report`. Raises: DataError."""
        ...

    def suffixes(self, report: PairReport) -> tuple[str, str]:
        """Suffixes of the two languages for names of files, given the report of a reading."""
        ...


def read_form(path: Path) -> Form | None:
    """The form of a file that is given as plain text and evidently is not; None for text. Raises: DataError."""
    with open_file(path) as stream:
        return recognise_text(path, open_text(stream, str(path)).stream.peek(BUFFER))


@dataclass(frozen=True)
class TextPair:
    """Two text files, of which line N of one is the translation of line N of the other."""

    src: Path
    tgt: Path
    strict_utf8: bool = False
    as_text: bool = False
    """Whether a file that looks like a table is read as text nevertheless."""

    @property
    def path(self) -> Path:
        return self.src

    @property
    def paths(self) -> tuple[Path, ...]:
        return self.src, self.tgt

    def rows(self, report: PairReport) -> Iterator[Row]:
        src_report, tgt_report = LineReport(), LineReport()
        sides = itertools.zip_longest(self._lines(self.src, src_report), self._lines(self.tgt, tgt_report))
        number = 0
        try:
            for number, (src, tgt) in enumerate(sides, 1):
                if src is None or tgt is None:
                    counts = [number - 1 + (1 + sum(1 for _ in sides)) * (side is not None) for side in (src, tgt)]
                    raise UnequalLengthsError(self.src, self.tgt, counts[0], counts[1])
                yield Row(number, src, tgt)
        finally:
            for path, lines in ((self.src, src_report), (self.tgt, tgt_report)):
                report.texts.append((str(path), lines))

    def _lines(self, path: Path, report: LineReport) -> Iterator[str]:
        with open_file(path) as stream:
            text = open_text(stream, str(path))
            report.form = text.form
            if not self.as_text:
                refuse_pairs(path, text.stream.peek(BUFFER))
            yield from iter_lines(text.stream, report, strict_utf8=self.strict_utf8)

    def suffixes(self, report: PairReport) -> tuple[str, str]:
        names = [strip_compression(path).suffix.removeprefix(".") for path in self.paths]
        return suffix_of(names[0], "src"), suffix_of(names[1], "tgt")


@dataclass(frozen=True)
class DataFile:
    """A file that holds both sides: a table, JSON lines or TMX."""

    path: Path
    columns: Columns | None = None
    form: str | None = None
    strict_utf8: bool = False

    @property
    def paths(self) -> tuple[Path, ...]:
        return (self.path,)

    def rows(self, report: PairReport) -> Iterator[Row]:
        with open_file(self.path) as stream:
            text = open_text(stream, str(self.path))
            form = recognise_pairs(self.path, text.stream.peek(BUFFER), self.form)
            report.compression = text.form
            if form.name == TMX:
                encoding = "utf-8" if text.transcoded else None
                yield from read_tmx(text.stream, self.columns, report, encoding=encoding)
                return
            lines = iter_lines(text.stream, report.lines, strict_utf8=self.strict_utf8)
            if form.name == JSONL:
                yield from read_json_lines(lines, self.columns, report)
                return
            assert form.dialect is not None
            yield from Table(form.dialect)(_refuse_other_encodings(lines, report.lines), self.columns, report)

    def suffixes(self, report: PairReport) -> tuple[str, str]:
        return suffix_of(report.names[0], "src"), suffix_of(report.names[1], "tgt")


def _refuse_other_encodings(lines: Iterator[str], report: LineReport) -> Iterator[str]:
    """The lines of a table.

    Raises:
        DataError: at the end, if most lines beyond ASCII are not UTF-8: spreadsheets export the encoding of Windows.
            Which one it is cannot be told for certain, and a wrong one would change letters in silence.
    """
    valid = 0
    for line in lines:
        valid += not line.isascii() and REPLACEMENT not in line
        yield line
    if report.bad_utf8 > valid:
        raise DataError(
            f"line {report.bad_utf8_lines[0]}: is not UTF-8; {report.bad_utf8:,} lines are probably in an encoding of "
            "Windows, as spreadsheets export it",
            hint="save it in the spreadsheet as 'CSV UTF-8', or convert it: iconv -f WINDOWS-1252 -t UTF-8 FILE > "
            "FILE.utf8.csv (Central Europe: WINDOWS-1250, Cyrillic: WINDOWS-1251)",
        )


@dataclass(frozen=True)
class DirectedDataFile:
    """A file that holds both sides, of which the languages are known: columns are found by language.

    Where none is named by a language, the first two are taken, `swapped` or not.
    """

    direction: Direction
    path: Path
    form: str | None = None
    strict_utf8: bool = False
    swapped: bool = False

    @property
    def paths(self) -> tuple[Path, ...]:
        return (self.path,)

    def rows(self, report: PairReport) -> Iterator[Row]:
        if self.path.exists() and not self.path.is_file():
            raise DataError(f"{self.path}: is no regular file: a table with languages cannot be read from a pipe")
        yield from DataFile(self.path, self._columns(), self.form, self.strict_utf8).rows(report)

    def suffixes(self, report: PairReport) -> tuple[str, str]:
        return self.direction

    def _columns(self) -> Columns | None:
        """The columns of the languages. Raises: DataError: the columns are named by other languages."""
        first_two = PairReport()
        next(DataFile(self.path, None, self.form).rows(first_two), None)
        wanted = Columns(*self.direction)
        try:
            next(DataFile(self.path, wanted, self.form).rows(PairReport()), None)
            return wanted
        except DataError as error:
            if all(map(language_code, first_two.names)):
                raise DataError(error.what, hint=f"{self.direction} needs these languages; {error.hint}") from None
        names = first_two.names if all(first_two.names) else ("1", "2")
        return Columns(*(reversed(names) if self.swapped else names))


class UnequalLengthsError(DataError):
    """Two text files with different numbers of lines."""

    def __init__(self, src: Path, tgt: Path, src_lines: int, tgt_lines: int) -> None:
        super().__init__(f"{src} has {src_lines} lines but {tgt} has {tgt_lines}: they are not aligned")
        self.src, self.tgt = src, tgt


@dataclass(frozen=True)
class CorpusFiles:
    """The files of a corpus, as the user names them.

    Attributes:
        src, tgt: text files, in the same order.
        data: files that hold both sides.
        columns: the columns of `data`, such as `en,de` or `1,3`; None = the first two.
        form: the form of `data`, or `text` for text files that look like a table; None = recognise it.
        directed: files with their languages, instead of all others.
    """

    src: Sequence[Path] = ()
    tgt: Sequence[Path] = ()
    data: Sequence[Path] = ()
    columns: str | None = None
    form: str | None = None
    directed: Sequence[DirectedFiles] = ()

    @staticmethod
    def of(
        src: Path | None, tgt: Path | None, data: Path | None, columns: str | None, form: str | None
    ) -> CorpusFiles:
        """A corpus of at most one file of each kind."""
        sides = [[] if path is None else [path] for path in (src, tgt, data)]
        return CorpusFiles(sides[0], sides[1], sides[2], columns, form)

    def __bool__(self) -> bool:
        return bool(self.src or self.tgt or self.data or self.directed)

    @property
    def paths(self) -> list[Path]:
        directed = [path for corpus in self.directed for path in corpus.files]
        return [*self.src, *self.tgt, *self.data, *dict.fromkeys(directed)]

    def sources(self, *, strict_utf8: bool = False, as_text: bool = False) -> list[PairSource]:
        """The parts of the corpus, in order: text files, then data files.

        Raises:
            ConfigError: no files, or an unknown form or choice of columns.
            DataError: different numbers of source and target files.
        """
        if not self:
            raise ConfigError("no corpus is given", hint="give text files, or --data FILE with both languages")
        if self.form is not None and self.form not in FORMS:
            raise ConfigError(f"--data-format {self.form}: unknown form", hint=f"choose from {', '.join(FORMS)}")
        if self.directed:
            return self._directed_sources(strict_utf8, as_text or self.form == TEXT)
        if bool(self.src) != bool(self.tgt):
            raise ConfigError("--src and --tgt must be given together", hint="a file with both languages: --data FILE")
        if len(self.src) != len(self.tgt):
            raise DataError(f"{len(self.src)} source files but {len(self.tgt)} target files")
        columns = parse_columns(self.columns) if self.columns is not None else None
        if columns and not self.data:
            raise ConfigError("--columns is for --data: a text file has no columns")
        text = as_text or self.form == TEXT
        pairs: list[PairSource] = [
            TextPair(s, t, strict_utf8, text) for s, t in zip(self.src, self.tgt, strict=True)
        ]
        return pairs + [DataFile(path, columns, self.form, strict_utf8) for path in self.data]

    def _directed_sources(self, strict_utf8: bool, as_text: bool) -> list[PairSource]:
        """The parts of `directed`. Raises: ConfigError: other files or columns are given, too."""
        if self.src or self.tgt or self.data or self.columns is not None:
            raise ConfigError(
                "corpora with their languages cannot be combined with --src, --tgt, --data and --columns",
                hint="name the languages of each corpus: --corpus en-de=train.en,train.de",
            )
        sources: list[PairSource] = []
        for corpus in self.directed:
            if len(corpus.files) == 2:
                sources.append(TextPair(*corpus.files, strict_utf8, as_text))
            else:
                sources.append(
                    DirectedDataFile(corpus.direction, corpus.files[0], self.form, strict_utf8, corpus.swapped)
                )
        return sources


def parse_columns(text: str) -> Columns:
    """Read `SOURCE,TARGET`, names or numbers. Raises: ConfigError."""
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 2 or not all(parts) or parts[0] == parts[1]:
        raise ConfigError(
            f"--columns {text}: two columns are needed, by name or by number from 1",
            hint="for example: --columns English,German or --columns 1,3",
        )
    return Columns(*parts)


def describe(source: PairSource, report: PairReport) -> list[str]:
    """How a source was read: one note for each file that is not plain UTF-8 text."""
    if report.form:
        compression = f", {report.compression}" if report.compression else ""
        return [f"note: {source.path}: {report.form}{compression}"]
    return [note for name, lines in report.texts for note in lines.note(name)]
