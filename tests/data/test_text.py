"""Conversion between bytes and lines, byte by byte."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transformer_cli.data.text import LineReport, encode_lines, iter_lines, read_lines, read_text, stream_lines
from transformer_cli.errors import DataError


def lines_of(content: bytes) -> tuple[list[str], LineReport]:
    report = LineReport()
    return list(iter_lines(io.BytesIO(content), report)), report


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"", []),
        (b"\n", [""]),
        (b"a", ["a"]),
        (b"a\n", ["a"]),
        (b"a\r\nb\r\n", ["a", "b"]),
        (b"a\r\r\n", ["a "]),
        (b"a\rb\n", ["a b"]),
        (b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n", ["a", "\ufeffb"]),
        ("a\u2028b\u2029c\x85d\x0be\x0cf\x00g\n".encode(), ["a b c d e f g"]),
        (b"a\x1cb\x1dc\x1ed\n", ["a b c d"]),
        (b"\xff\n", ["\ufffd"]),
        (b"\n\n\n", ["", "", ""]),
        ("ä😀\n".encode(), ["ä😀"]),
    ],
)
def test_bytes_to_lines(content: bytes, lines: list[str]) -> None:
    assert lines_of(content)[0] == lines


def test_repairs_are_counted_with_line_numbers() -> None:
    _, report = lines_of(b"ok\n\xff\nok\na\x00b\n\xc3\n")
    assert (report.bad_utf8, report.bad_utf8_lines) == (2, [2, 5])
    assert (report.control, report.control_lines) == (1, [4])
    assert len(report.messages("f")) == 2 and not LineReport().messages("f")


@given(st.binary(max_size=300))
def test_any_bytes_keep_their_number_of_lines(content: bytes) -> None:
    lines, _ = lines_of(content)
    expected = content.count(b"\n") + (bool(content) and not content.endswith(b"\n"))
    assert len(lines) == expected
    encoded = encode_lines(lines)
    assert encoded.count(b"\n") == len(lines) == len(encoded.decode().splitlines())


@given(st.lists(st.text(alphabet="ab\n\r\x00\x0b\x0c\x85\u2028\u2029\ud800", max_size=8), max_size=5))
def test_any_generated_text_is_one_line(texts: list[str]) -> None:
    encoded = encode_lines(texts)
    assert encoded.count(b"\n") == len(texts) == len(encoded.decode().splitlines())


def test_errors_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_lines(tmp_path / "none")
    with pytest.raises(DataError, match="directory"):
        read_lines(tmp_path)
    (tmp_path / "bad").write_bytes(b"ok\n\xff\n")
    with pytest.raises(DataError, match="line 2 is not UTF-8"):
        read_lines(tmp_path / "bad", strict_utf8=True)
    assert read_lines(tmp_path / "bad")[0] == ["ok", "\ufffd"]


def test_read_text_reports_repairs_and_reads_compressed_files(tmp_path: Path) -> None:
    messages: list[str] = []
    (tmp_path / "bad").write_bytes(b"ok\n\xff\na\x00b\n")
    assert read_text(tmp_path / "bad", messages.append) == ["ok", "\ufffd", "a b"]
    assert [m.startswith(f"warning: {tmp_path / 'bad'}: 1 lines have") for m in messages] == [True, True]
    with pytest.raises(DataError, match="line 2 is not UTF-8"):
        read_text(tmp_path / "bad", messages.append, strict_utf8=True)
    (tmp_path / "text.gz").write_bytes(gzip.compress(b"ok\n" * 50, mtime=0))
    assert read_text(tmp_path / "text.gz", messages.append) == ["ok"] * 50
    assert messages[-1] == f"note: {tmp_path / 'text.gz'}: text, compressed with gzip"


def test_a_file_is_streamed_line_by_line(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"a\n" + b"\xff\n" * 100_000)
    report = LineReport()
    lines = stream_lines(tmp_path / "text", report)
    assert next(lines) == "a" and report.lines < 100_000
    assert sum(1 for _ in lines) == 100_000 == report.bad_utf8 and report.lines == 100_001
