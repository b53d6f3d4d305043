"""Lines in temporary files, and parts of them, equal lists of the same lines."""

from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np
import pytest

from transformer_cli.data.line_file import (
    BLOCK,
    CHUNK,
    DeferredLines,
    LineFile,
    RemainingLines,
    RemainingRows,
    chunks,
)
from transformer_cli.errors import DiskError


def make(directory: Path, lines: list[str]) -> LineFile:
    file = LineFile(directory)
    file.extend(lines)
    return file.finish()


@pytest.mark.parametrize("count", [0, 1, BLOCK, BLOCK + 1, CHUNK, CHUNK + BLOCK + 3])
def test_lines_come_back_by_number_in_order_and_in_parts(count: int, tmp_path: Path) -> None:
    rng = random.Random(count)
    lines = [rng.choice(["", " ", "ä\u3000", "x" * 300, "\ud800 lone", "tab\t", f"line {i}"]) for i in range(count)]
    file = make(tmp_path, lines)
    assert len(file) == count and list(file) == lines
    for i in rng.sample(range(count), min(count, 200)):
        assert file[i] == lines[i]
    for start, stop in [(0, 0), (0, count), (3, 5), (BLOCK - 1, BLOCK + 2), (count - 1, count + 9)]:
        assert file[start:stop] == lines[start:stop]
    assert not list(tmp_path.iterdir()), "the file has a name"


def test_a_line_with_a_line_end_is_a_bug(tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        make(tmp_path, ["a\nb"])


def test_a_full_disk_is_a_disk_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DiskError, match="cannot be written"):
        LineFile(tmp_path / "missing")
    file = LineFile(tmp_path)
    file._stream = open("/dev/full", "r+b", buffering=0)  # noqa: SIM115
    file.append("x")
    with pytest.raises(DiskError, match="cannot be written"):
        file.finish()


@pytest.mark.parametrize("excluded", [[], [0], [4, 3, 19], range(20), [0, 1, 2, 18, 19]])
def test_remaining_rows_and_lines(excluded: list[int], tmp_path: Path) -> None:
    lines = [str(i) for i in range(20)]
    expected = [i for i in range(20) if i not in set(excluded)]
    rows = RemainingRows(20, excluded)
    assert list(rows) == expected == [rows[i] for i in range(len(rows))] == rows[:]
    assert rows.take(np.arange(len(rows))).tolist() == expected
    for base in (lines, make(tmp_path, lines)):
        left = RemainingLines(base, rows)
        assert list(left) == [str(i) for i in expected] == [left[i] for i in range(len(left))]
        for start in range(21):
            assert [left[start : start + n] for n in range(9)] == [
                [str(i) for i in expected[start : start + n]] for n in range(9)
            ]
    with pytest.raises(IndexError):
        rows[len(rows)]


def test_deferred_lines_are_read_once_and_only_when_needed() -> None:
    read = []
    lines = DeferredLines(2, lambda: read.append(1) or ["a", "b"])  # type: ignore[func-returns-value]
    assert len(lines) == 2 and not read
    assert list(lines) == ["a", "b"] and lines[1] == "b" and lines[:1] == ["a"] and read == [1]


def test_chunks_are_aligned() -> None:
    assert list(chunks(["a", "b", "c"], ["d", "e", "f"], size=2)) == [(["a", "b"], ["d", "e"]), (["c"], ["f"])]
    assert list(chunks([])) == []


def test_forked_processes_read_the_same_file(tmp_path: Path) -> None:
    file = make(tmp_path, [str(i) for i in range(1000)])
    child = os.fork()
    if child == 0:
        os._exit(0 if file[998:] == ["998", "999"] else 1)
    assert file[5] == "5" and os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
