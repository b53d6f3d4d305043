"""Sequences of lines and of row numbers that are not in memory: a text in a temporary file, and parts of it."""

from __future__ import annotations

import os
import tempfile
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from transformer_cli import durable

BLOCK = 128
"""Lines of a block, whose position is kept: 8 bytes for each block."""
CHUNK = 64 * BLOCK
"""Lines that are written, or read in order, at a time."""


class LineFile(Sequence[str]):
    """Lines in a temporary file without a name, which vanishes with the process, even if it is killed.

    Lines are appended, then read; forked processes may read too. A line has no line end.
    """

    def __init__(self, directory: Path) -> None:
        """`directory`: where the file takes space. Raises: DiskError."""
        with durable.as_disk_error(directory, 0):
            self._stream = tempfile.TemporaryFile(dir=directory, buffering=0)
        self._directory = directory
        self._starts = array("q", [0])
        self._count = 0
        self._pending: list[str] = []
        self._block: tuple[int, list[str]] = (-1, [])

    def append(self, line: str) -> None:
        """Add a line. Raises: DiskError."""
        self._pending.append(line)
        if len(self._pending) >= CHUNK:
            self._write(self._pending)
            self._pending = []

    def extend(self, lines: Iterable[str]) -> None:
        """Add lines. Raises: DiskError."""
        for line in lines:
            self.append(line)

    def finish(self) -> LineFile:
        """Write the last lines; afterwards the lines can be read. Raises: DiskError."""
        self._write(self._pending)
        self._pending = []
        return self

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            start, stop, step = index.indices(self._count)
            assert step == 1
            return self._read(start, stop)
        row = range(self._count)[index]
        number, lines = self._block
        if row // BLOCK != number:
            number = row // BLOCK
            lines = self._read(number * BLOCK, min(self._count, (number + 1) * BLOCK))
            self._block = number, lines
        return lines[row % BLOCK]

    def __iter__(self) -> Iterator[str]:
        for start in range(0, self._count, CHUNK):
            yield from self._read(start, min(self._count, start + CHUNK))

    def _read(self, start: int, stop: int) -> list[str]:
        if start >= stop:
            return []
        first, last = start // BLOCK, -(-stop // BLOCK)
        begin, end = self._starts[first], self._starts[last]
        content = os.pread(self._stream.fileno(), end - begin, begin)
        assert len(content) == end - begin, "the temporary file was truncated"
        lines = content.decode("utf-8", errors="surrogatepass").split("\n")
        return lines[start - first * BLOCK : stop - first * BLOCK]

    def _write(self, lines: Sequence[str]) -> None:
        assert self._count % BLOCK == 0 or not lines, "lines were added after the end"
        size, blocks = self._starts[-1], []
        for first in range(0, len(lines), BLOCK):
            block = "\n".join(lines[first : first + BLOCK]) + "\n"
            assert block.count("\n") == min(BLOCK, len(lines) - first), "a line has a line end"
            blocks.append(block.encode("utf-8", errors="surrogatepass"))
            size += len(blocks[-1])
            self._starts.append(size)
        with durable.as_disk_error(self._directory, size):
            rest = memoryview(b"".join(blocks))
            while rest:
                rest = rest[self._stream.write(rest) :]
        self._count += len(lines)


class RemainingRows(Sequence[int]):
    """The numbers 0 to `total` - 1 without `excluded`, in ascending order."""

    def __init__(self, total: int, excluded: Iterable[int]) -> None:
        self.excluded = sorted(set(excluded))
        self._count = total - len(self.excluded)
        # Of the remaining numbers, how many are below each excluded one.
        self._below = [row - i for i, row in enumerate(self.excluded)]

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> list[int]: ...
    def __getitem__(self, index: int | slice) -> int | list[int]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._count))]
        index = range(self._count)[index]
        return index + bisect_right(self._below, index)

    def __iter__(self) -> Iterator[int]:
        start = 0
        for row in self.excluded:
            yield from range(start, row)
            start = row + 1
        yield from range(start, self._count + len(self.excluded))

    def take(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """The numbers at these indices."""
        return indices + np.searchsorted(self._below, indices, side="right")


class RemainingLines(Sequence[str]):
    """The lines at some rows of another sequence, which is not copied."""

    def __init__(self, lines: Sequence[str], rows: RemainingRows) -> None:
        self._lines, self._rows = lines, rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if not isinstance(index, slice):
            return self._lines[self._rows[index]]
        start, stop, step = index.indices(len(self))
        assert step == 1
        if start >= stop:
            return []
        first, last = self._rows[start], self._rows[stop - 1]
        lines = list(self._lines[first : last + 1])
        if len(lines) > stop - start:
            skipped = set(islice(self._rows.excluded, *self._excluded_between(first, last)))
            lines = [line for row, line in enumerate(lines, first) if row not in skipped]
        return lines

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), CHUNK):
            yield from self[start : start + CHUNK]

    def _excluded_between(self, first: int, last: int) -> tuple[int, int]:
        return bisect_right(self._rows.excluded, first), bisect_right(self._rows.excluded, last)


class LineRange(Sequence[Any]):
    """Consecutive elements of another sequence, such as lines or numbers of rows, which are not copied."""

    def __init__(self, elements: Sequence[Any], rows: range) -> None:
        self._elements, self._rows = elements, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        if not isinstance(index, slice):
            return self._elements[self._rows[index]]
        start, stop, step = index.indices(len(self))
        assert step == 1
        return self._elements[self._rows.start + start : self._rows.start + stop] if start < stop else []

    def __iter__(self) -> Iterator[Any]:
        for start in range(0, len(self), CHUNK):
            yield from self[start : start + CHUNK]


class DeferredLines(Sequence[str]):
    """A known number of lines that are read when they are needed."""

    def __init__(self, count: int, read: Callable[[], Sequence[str]]) -> None:
        self._count, self._read = count, read
        self._lines: Sequence[str] | None = None

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        return self._get()[index]

    def __iter__(self) -> Iterator[str]:
        return iter(self._get())

    def _get(self) -> Sequence[str]:
        if self._lines is None:
            self._lines = self._read()
            assert len(self._lines) == self._count
        return self._lines


def chunks(*sides: Sequence[str], size: int = CHUNK) -> Iterator[tuple[Sequence[str], ...]]:
    """Aligned sequences of lines in parts of at most `size` lines."""
    for start in range(0, len(sides[0]), size):
        yield tuple(side[start : start + size] for side in sides)
