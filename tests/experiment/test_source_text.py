"""The text to translate: whole files, streams and shards."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transformer_cli.errors import ConfigError, DataError
from transformer_cli.experiment.source_text import FIRST_CHUNK, Shard, SourceText, read_chunks


@given(st.integers(0, 200), st.integers(1, 50))
def test_shards_partition_a_text_into_parts_of_equal_size(total: int, count: int) -> None:
    parts = [Shard(index, count).lines(total) for index in range(1, count + 1)]
    assert [line for part in parts for line in part] == list(range(total))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("text", ["", "1", "0/4", "5/4", "1/0", "-1/4", "1/4/4", "a/b", "1 / 4", "\u0661/\u0664"])
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="K/N"):
        Shard.parse(text)


def test_a_file_is_counted_before_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"a\nb\n\xff\nd\ne")
    whole = SourceText.open(tmp_path / "text", strict_utf8=False, shard=None)
    assert (whole.total, whole.first, whole.report.bad_utf8_lines) == (5, 0, [3])
    assert list(whole.lines) == ["a", "b", "\ufffd", "d", "e"]
    part = SourceText.open(tmp_path / "text", strict_utf8=False, shard=Shard.parse("2/2"))
    assert (part.total, part.first, list(part.lines)) == (3, 2, ["\ufffd", "d", "e"])
    with pytest.raises(DataError, match="line 3 is not UTF-8"):
        SourceText.open(tmp_path / "text", strict_utf8=True, shard=None)


def test_a_table_is_reported(tmp_path: Path) -> None:
    (tmp_path / "table.tsv").write_text("a dog\tein Hund\n" * 9)
    text = SourceText.open(tmp_path / "table.tsv", strict_utf8=False, shard=None)
    assert text.notes == [
        f"warning: {tmp_path / 'table.tsv'}: is a table (columns separated by tabs); "
        "its lines are translated as they are"
    ]
    assert list(text.lines) == ["a dog\tein Hund"] * 9


def test_a_pipe_is_read_once_and_has_no_shards(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="stream"):
        SourceText.open(tmp_path / "pipe", strict_utf8=False, shard=Shard(1, 2))
    threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(b"a\nb\n",), daemon=True).start()
    text = SourceText.open(tmp_path / "pipe", strict_utf8=False, shard=None)
    assert text.total is None and list(text.lines) == ["a", "b"] and text.report.lines == 2


def test_the_first_chunk_of_a_file_is_small_and_later_ones_double() -> None:
    lines = [str(number) for number in range(10 * FIRST_CHUNK)]
    chunks = list(read_chunks(iter(lines), 4 * FIRST_CHUNK, eager=False))
    assert [len(chunk) // FIRST_CHUNK for chunk in chunks] == [1, 2, 4, 3]
    assert [line for chunk in chunks for line in chunk] == lines


def test_an_error_of_a_stream_is_raised_after_the_lines_before_it() -> None:
    def lines() -> object:
        yield "a"
        raise DataError("broken")

    chunks = read_chunks(lines(), 10, eager=True)  # type: ignore[arg-type]
    assert next(chunks) == ["a"]
    with pytest.raises(DataError, match="broken"):
        next(chunks)
