"""Parallel text: reading aligned files, in memory or into a temporary file, and signs of misalignment."""

from __future__ import annotations

import contextlib
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from transformer_cli.data.directions import Direction
from transformer_cli.data.filters.base import Pair
from transformer_cli.data.line_file import CHUNK, LineFile, LineRange, RemainingLines, RemainingRows, chunks
from transformer_cli.data.parallel import ordered_map
from transformer_cli.data.readers.corpus_files import CorpusFiles, UnequalLengthsError, describe
from transformer_cli.data.readers.languages import language_code
from transformer_cli.data.readers.pairs import PairReport
from transformer_cli.data.text import read_lines
from transformer_cli.errors import DataError

Result = TypeVar("Result")


class LineNumbers(Sequence[int]):
    """The number, from 1, of the line of each pair of a file: runs of consecutive lines, 16 bytes a run."""

    def __init__(self, runs: Iterable[tuple[int, int]] = (), count: int = 0) -> None:
        """`runs`: the first row (from 0) and the first line of each run."""
        self._rows, self._lines = array("q"), array("q")
        for row, line in runs:
            self._rows.append(row)
            self._lines.append(line)
        self._count = count
        self._next = self[count - 1] + 1 if count else 0

    @property
    def runs(self) -> list[tuple[int, int]]:
        return list(zip(self._rows, self._lines, strict=True))

    def append(self, line: int) -> None:
        if line != self._next:
            self._rows.append(self._count)
            self._lines.append(line)
        self._next = line + 1
        self._count += 1

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        row = range(self._count)[index]
        run = bisect_right(self._rows, row) - 1
        return self._lines[run] + row - self._rows[run]


@dataclass(frozen=True)
class TextFile:
    """A file of a corpus: its number of pairs, the line, from 1, of each, and its languages if they are given."""

    path: Path
    pairs: int
    lines: Sequence[int]
    direction: Direction | None = None

    @property
    def label(self) -> str:
        """Its name in messages: `train.en`, or `en-de train.en`."""
        return f"{self.direction} {self.path.name}" if self.direction else self.path.name


@dataclass(frozen=True)
class ParallelText:
    """Aligned lines, in memory or in a `LineFile`.

    Attributes:
        src, tgt: the lines of both sides.
        notes: warnings from reading.
        files: the source files in order.
        rows: for a selection, the row of each pair in the concatenated files; None if all pairs are present.
        forms: how the files were read, for files that are not plain text.
        languages: codes of source and target by the names of the first files or their columns; None if unknown.
    """

    src: Sequence[str]
    tgt: Sequence[str]
    notes: list[str] = field(default_factory=list)
    files: list[TextFile] = field(default_factory=list)
    rows: Sequence[int] | None = None
    forms: list[str] = field(default_factory=list)
    languages: tuple[str, str] | None = None

    def __len__(self) -> int:
        return len(self.src)

    def select(self, rows: Sequence[int]) -> ParallelText:
        """Copy these pairs, in this order."""
        file_rows = rows if self.rows is None else [self.rows[i] for i in rows]
        src, tgt = [self.src[i] for i in rows], [self.tgt[i] for i in rows]
        return ParallelText(src, tgt, self.notes, self.files, file_rows, self.forms, self.languages)

    def without(self, rows: Iterable[int]) -> ParallelText:
        """All pairs but these, in order and without copying them. Only of a text with all pairs of its files."""
        assert self.rows is None
        left = RemainingRows(len(self), rows)
        src, tgt = RemainingLines(self.src, left), RemainingLines(self.tgt, left)
        return ParallelText(src, tgt, self.notes, self.files, left, self.forms, self.languages)

    @property
    def directions(self) -> list[Direction]:
        """The directions of the files, each once, in order; empty if they are not given."""
        return list(dict.fromkeys(file.direction for file in self.files if file.direction))

    def direction_rows(self) -> Iterator[tuple[Direction | None, int, range]]:
        """(direction, number of the file, its pairs) of each file; one entry for all if no directions are given.

        The pairs must be in the order of the files, as after `without`, or `select` of ascending rows.
        """
        if not self.directions:
            yield None, 0, range(len(self))
            return
        end, row = 0, 0
        for number, file in enumerate(self.files):
            row, start = row + file.pairs, end
            end = row if self.rows is None else bisect_left(self.rows, row)
            yield file.direction, number, range(start, end)

    def part(self, pairs: range) -> ParallelText:
        """Consecutive pairs, which are not copied."""
        if len(pairs) == len(self):
            return self
        src, tgt = LineRange(self.src, pairs), LineRange(self.tgt, pairs)
        rows: Sequence[int] = pairs if self.rows is None else LineRange(self.rows, pairs)
        return ParallelText(src, tgt, self.notes, self.files, rows, self.forms, self.languages)

    def file_rows(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """The rows of these pairs in the concatenated files."""
        if self.rows is None:
            return indices
        if isinstance(self.rows, RemainingRows):
            return self.rows.take(indices)
        return np.asarray(self.rows, dtype=np.int64)[indices]

    def pairs(self) -> Iterator[Pair]:
        """The pairs for filters. Of the numbers of lines, only line 1 of each file is told from the others."""
        for start, (src, tgt) in zip(range(0, len(self), CHUNK), chunks(self.src, self.tgt), strict=True):
            yield from self.pairs_of(start, src, tgt)

    def pairs_of(self, start: int, src: Sequence[str], tgt: Sequence[str]) -> Iterator[Pair]:
        """The pairs from `start` on, whose lines are given."""
        stop = start + len(src)
        rows = range(start, stop) if self.rows is None else self.rows[start:stop]
        for row, src_line, tgt_line in zip(rows, src, tgt, strict=True):
            yield Pair(1 if row in self._first_rows else row + 2, src_line, tgt_line)

    @cached_property
    def _first_rows(self) -> set[int]:
        """Rows of the pairs on line 1 of a file."""
        starts, row = set(), 0
        for file in self.files:
            if file.pairs and file.lines[0] == 1:
                starts.add(row)
            row += file.pairs
        return starts

    def map_parts(
        self, function: Callable[[int, Sequence[str], Sequence[str]], Result], size: int = CHUNK
    ) -> Iterator[Result]:
        """`function(row of the first pair, source lines, target lines)` for parts of `size` pairs, in order.

        Many parts are processed in parallel; see `ordered_map`.
        """

        def process(start: int) -> Result:
            return function(start, self.src[start : start + size], self.tgt[start : start + size])

        return (result for _, result in ordered_map(process, range(0, len(self), size)))

    def location(self, pair: int) -> str:
        """The file and line of a pair, for messages: `train.en, line 12`."""
        row = pair if self.rows is None else self.rows[pair]
        for file in self.files:
            if row < file.pairs:
                return f"{file.path}, line {file.lines[row]:,}"
            row -= file.pairs
        return f"line {row + 1:,}"


def read_corpus(
    files: CorpusFiles, *, strict_utf8: bool = False, allow_blank: bool = False, directory: Path | None = None
) -> ParallelText:
    """Read the pairs of a corpus and concatenate them.

    Args:
        directory: where to keep the text, in a temporary file; None = in memory.

    Raises:
        ConfigError: no files, or options of reading that are unknown.
        DataError: missing or unreadable file, different numbers of lines or files, no pair with text on both sides
            (accepted with `allow_blank`), or a line that is not UTF-8 (with `strict_utf8`).
        DiskError: no space in `directory`.
    """
    sources = files.sources(strict_utf8=strict_utf8)
    src: list[str] | LineFile = [] if directory is None else LineFile(directory)
    tgt: list[str] | LineFile = [] if directory is None else LineFile(directory)
    joined = ParallelText(src, tgt)
    languages: tuple[str, str] | None = None
    has_text = allow_blank
    known = [corpus.direction for corpus in files.directed]
    directions: Sequence[Direction | None] = known or [None] * len(sources)
    for source, direction in zip(sources, directions, strict=True):
        report, lines = PairReport(), LineNumbers()
        with explain_unequal_lengths():
            for line, src_line, tgt_line in source.rows(report):
                src.append(src_line)
                tgt.append(tgt_line)
                lines.append(line)
                if not has_text and src_line.strip() and tgt_line.strip():
                    has_text = True
        joined.notes.extend(report.messages(str(source.path)))
        joined.forms.extend(describe(source, report))
        joined.files.append(TextFile(source.path, len(lines), lines, direction))
        if direction is not None and len(set(directions)) == 1:
            languages = direction
        if direction is None and len(joined.files) == 1 and len(lines):
            languages = _languages(source.suffixes(report))
    for side in (src, tgt):
        if isinstance(side, LineFile):
            side.finish()
    if not has_text:
        names = ", ".join(map(str, files.paths))
        raise DataError(f"{names}: no sentence pair (every line is blank on at least one side)")
    return replace(joined, languages=languages)


def _languages(suffixes: tuple[str, str]) -> tuple[str, str] | None:
    """The codes of the languages that files are named by, if they are."""
    src, tgt = map(language_code, suffixes)
    return (src, tgt) if src and tgt and src != tgt else None


def read_parallel(
    src: Sequence[Path], tgt: Sequence[Path], *, strict_utf8: bool = False, allow_blank: bool = False
) -> ParallelText:
    """`read_corpus` of pairs of text files."""
    return read_corpus(CorpusFiles(src, tgt), strict_utf8=strict_utf8, allow_blank=allow_blank)


def replace_target(text: ParallelText, ref: Path) -> ParallelText:
    """The same source with the target read from `ref`. Raises: DataError, as in `read_corpus`."""
    lines, report = read_lines(ref)
    if len(lines) != len(text):
        error = UnequalLengthsError(text.files[0].path, ref, len(text), len(lines))
        error.hint = _first_suspicious_hint(text.src, lines)
        raise error
    return ParallelText(text.src, lines, report.messages(str(ref)), text.files, forms=report.note(str(ref)))


@contextlib.contextmanager
def explain_unequal_lengths() -> Iterator[None]:
    """Add the first suspicious line to an error about files of different lengths, which are read again for it."""
    try:
        yield
    except UnequalLengthsError as error:
        if error.src.is_file() and error.tgt.is_file():
            error.hint = _first_suspicious_hint(read_lines(error.src)[0], read_lines(error.tgt)[0])
        raise


def _first_suspicious_hint(src: Sequence[str], tgt: Sequence[str]) -> str:
    return f"first suspicious line: {first_suspicious_line(src, tgt)} (compare it in both files)"


def first_suspicious_line(src: Sequence[str], tgt: Sequence[str]) -> int:
    """Estimate the line (from 1) from which the files are misaligned.

    A line that is blank on one side only decides. Otherwise the estimate minimizes the sum of |log length ratio|
    over the lines before it, unshifted, and the lines after it, with the longer file shifted by the surplus.
    """
    common = min(len(src), len(tgt))
    for i in range(common):
        if bool(src[i].strip()) != bool(tgt[i].strip()):
            return i + 1
    surplus = abs(len(src) - len(tgt))
    long, short = (src, tgt) if len(src) > len(tgt) else (tgt, src)
    long_log = np.log([len(line) + 1.0 for line in long])
    short_log = np.log([len(line) + 1.0 for line in short])
    if common == 0:
        return 1
    unshifted = np.abs(long_log[:common] - short_log)
    shifted = np.abs(long_log[surplus : surplus + common] - short_log)
    before = np.concatenate([[0.0], unshifted.cumsum()])
    after = np.concatenate([shifted[::-1].cumsum()[::-1], [0.0]])
    return int(np.argmin(before + after)) + 1
