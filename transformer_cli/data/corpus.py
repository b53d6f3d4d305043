"""Parallel text in memory: reading aligned files, signs of misalignment, and holding out a validation set."""

from __future__ import annotations

import contextlib
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transformer_cli.data.filters.base import Pair
from transformer_cli.data.readers.corpus_files import CorpusFiles, UnequalLengthsError, describe
from transformer_cli.data.readers.languages import language_code
from transformer_cli.data.readers.pairs import PairReport
from transformer_cli.data.text import read_lines
from transformer_cli.errors import DataError

HELD_OUT_PAIRS = 1000
HELD_OUT_SHARE = 0.05
"""Without validation files, this number of pairs, at most this share, is held out of the training text."""
BLOCK, MIN_BLOCK = 400, 200
"""Lines per block whose lengths are compared, and the smallest block that gives a reliable correlation."""


@dataclass(frozen=True)
class TextFile:
    """A file of a corpus: its number of pairs, and the line, from 1, of each."""

    path: Path
    pairs: int
    lines: Sequence[int]


@dataclass(frozen=True)
class ParallelText:
    """Aligned lines.

    Attributes:
        src, tgt: the lines of both sides.
        notes: warnings from reading.
        files: the source files in order.
        rows: for a selection, the row of each pair in the concatenated files; None if all pairs are present.
        forms: how the files were read, for files that are not plain text.
        languages: codes of source and target by the names of the first files or their columns; None if unknown.
    """

    src: list[str]
    tgt: list[str]
    notes: list[str] = field(default_factory=list)
    files: list[TextFile] = field(default_factory=list)
    rows: Sequence[int] | None = None
    forms: list[str] = field(default_factory=list)
    languages: tuple[str, str] | None = None

    def __len__(self) -> int:
        return len(self.src)

    def select(self, rows: Sequence[int]) -> ParallelText:
        """These pairs, in this order."""
        file_rows = rows if self.rows is None else [self.rows[i] for i in rows]
        src, tgt = [self.src[i] for i in rows], [self.tgt[i] for i in rows]
        return ParallelText(src, tgt, self.notes, self.files, file_rows, self.forms, self.languages)

    def pairs(self) -> Iterator[Pair]:
        """The pairs for filters. Of the numbers of lines, only line 1 of each file is told from the others."""
        starts, row = set(), 0
        for file in self.files:
            if file.pairs and file.lines[0] == 1:
                starts.add(row)
            row += file.pairs
        rows = range(len(self)) if self.rows is None else self.rows
        for row, src, tgt in zip(rows, self.src, self.tgt, strict=True):
            yield Pair(1 if row in starts else row + 2, src, tgt)

    def lengths(self) -> tuple[list[int], list[int]]:
        """Characters of each line of source and target."""
        return list(map(len, self.src)), list(map(len, self.tgt))

    def location(self, pair: int) -> str:
        """The file and line of a pair, for messages: `train.en, line 12`."""
        row = pair if self.rows is None else self.rows[pair]
        for file in self.files:
            if row < file.pairs:
                return f"{file.path}, line {file.lines[row]:,}"
            row -= file.pairs
        return f"line {row + 1:,}"


def read_corpus(files: CorpusFiles, *, strict_utf8: bool = False, allow_blank: bool = False) -> ParallelText:
    """Read the pairs of a corpus and concatenate them.

    Raises:
        ConfigError: no files, or options of reading that are unknown.
        DataError: missing or unreadable file, different numbers of lines or files, no pair with text on both sides
            (accepted with `allow_blank`), or a line that is not UTF-8 (with `strict_utf8`).
    """
    joined, languages = ParallelText([], []), None
    for source in files.sources(strict_utf8=strict_utf8):
        report, before = PairReport(), len(joined)
        lines = array("q")
        with explain_unequal_lengths():
            for line, src, tgt in source.rows(report):
                joined.src.append(src)
                joined.tgt.append(tgt)
                lines.append(line)
        joined.notes.extend(report.messages(str(source.path)))
        joined.forms.extend(describe(source, report))
        joined.files.append(TextFile(source.path, len(joined) - before, lines))
        if len(joined.files) == 1 and lines:
            languages = _languages(source.suffixes(report))
    if not allow_blank and not any(s.strip() and t.strip() for s, t in zip(joined.src, joined.tgt, strict=True)):
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


def hold_out_validation(text: ParallelText, seed: int) -> tuple[ParallelText, ParallelText]:
    """Split into (training, validation), drawn at random by `seed`, both in file order.

    Raises:
        DataError: fewer than two pairs.
    """
    count = max(1, min(HELD_OUT_PAIRS, int(len(text) * HELD_OUT_SHARE)))
    if len(text) < 2:
        raise DataError(
            f"{len(text)} sentence pairs are too few to hold out a validation set",
            hint="add pairs, or give --valid-src and --valid-tgt",
        )
    usable = [i for i in range(len(text)) if text.src[i].strip() and text.tgt[i].strip()]
    pairs = list(zip(text.src, text.tgt, strict=True))
    counts = Counter(pairs)
    unique = [i for i in usable if counts[pairs[i]] == 1]
    if len(unique) > count:  # a repeated pair would be in both sets
        usable = unique
    count = min(count, len(usable) - 1) or 1
    chosen = set(np.random.default_rng(seed).permutation(usable)[:count].tolist())
    held = sorted(chosen)
    rest = [i for i in range(len(text)) if i not in chosen]
    return text.select(rest), text.select(held)


def find_one_sided_blanks(text: ParallelText) -> list[int]:
    """Line numbers (from 1) where one side is blank and the other is not."""
    sides = zip(text.src, text.tgt, strict=True)
    return [i for i, (s, t) in enumerate(sides, start=1) if bool(s.strip()) != bool(t.strip())]


def find_shifted_blocks(src_lengths: Sequence[int], tgt_lengths: Sequence[int]) -> list[int]:
    """First rows (from 0) of the blocks whose target is shifted by one to three lines.

    Lengths of translations, in characters, correlate with the lengths of their sources. A block is reported if the
    correlation of the log lengths is above 0.5 for a shift, and by more than 0.3 better than without it.
    """
    log_lengths = [np.log(np.asarray(side, dtype=np.float64) + 1.0) for side in (src_lengths, tgt_lengths)]
    shifted = []
    for first in range(0, len(src_lengths) - MIN_BLOCK + 1, BLOCK):
        src, tgt = (side[first : first + BLOCK] for side in log_lengths)
        unshifted = _correlation(src, tgt)
        for shift in range(1, 4):
            best = max(_correlation(src[shift:], tgt[:-shift]), _correlation(src[:-shift], tgt[shift:]))
            if best > 0.5 and best > unshifted + 0.3:
                shifted.append(first)
                break
    return shifted


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    if len(a) < 2 or min(a.std(), b.std()) < 1e-6:  # constant, up to rounding
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def find_copied_pairs(text: ParallelText) -> list[int]:
    """Rows (from 0) whose target equals their source."""
    sides = zip(text.src, text.tgt, strict=True)
    return [i for i, (s, t) in enumerate(sides) if s.strip() == t.strip() != ""]

