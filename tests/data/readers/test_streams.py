"""Compressed files and encodings."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import resource
from collections.abc import Callable

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from transformer_cli.data.readers import streams
from transformer_cli.data.text import LineReport, iter_text
from transformer_cli.errors import DataError

TEXT = "Straße und Haus\nзелёный дом\n\n你好世界\nend\n" * 40
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}
WIDE = ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")


def read(content: bytes) -> tuple[list[str], str]:
    report = LineReport()
    return list(iter_text(io.BufferedReader(io.BytesIO(content)), "file", report)), report.form  # type: ignore[arg-type]


@pytest.mark.parametrize("name", COMPRESS)
def test_compressed_text_is_read_also_of_several_parts(name: str) -> None:
    packed = COMPRESS[name](TEXT.encode())
    assert read(packed) == (TEXT.split("\n")[:-1], f"compressed with {name}")
    assert read(packed + packed)[0] == (TEXT + TEXT).split("\n")[:-1]
    assert read(COMPRESS[name](b""))[0] == []


@pytest.mark.parametrize("name", COMPRESS)
def test_damaged_or_cut_data_is_refused_with_its_place(name: str) -> None:
    packed = COMPRESS[name](TEXT.encode())
    for broken in (packed[:-1], packed[:-9], packed[: len(packed) // 2], packed[:-9] + b"\x00\xff" * 5):
        with pytest.raises(DataError, match=rf"line \d+: the compressed data \({name}\)"):
            read(broken)


@pytest.mark.parametrize("name", COMPRESS)
def test_a_bomb_does_not_fill_memory(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = COMPRESS[name](bytes(64 << 20))
    monkeypatch.setattr(streams, "FREE_EXPANSION", 1 << 20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match="expands to more than 200 times"):
        read(packed)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 48 << 10


def test_zstd_without_its_package_is_refused_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(DataError, match="needs the package zstandard") as caught:
        read(COMPRESS["zstd"](TEXT.encode()))
    assert "pip install zstandard" in caught.value.hint


@pytest.mark.parametrize("codec", WIDE)
@pytest.mark.parametrize("text", [TEXT, "ab\ncd\n", "Привет мир\nкак дела\n", "你好，世界。\n再见朋友\n" * 3])
def test_utf16_and_utf32_are_read_with_and_without_a_mark(codec: str, text: str) -> None:
    lines, form = read(("\ufeff" + text).encode(codec))
    assert (lines, form) == (text.split("\n")[:-1], streams.ENCODINGS[codec])
    lines, form = read(text.encode(codec))
    assert (lines, form) == (text.split("\n")[:-1], f"{streams.ENCODINGS[codec]} without a byte-order mark")
    assert read(gzip.compress(text.encode(codec)))[0] == text.split("\n")[:-1]


@given(st.binary(max_size=80))
def test_text_with_some_nul_characters_stays_text(content: bytes) -> None:
    """What is no UTF-16 keeps one line for each line end."""
    line = b"plain words here\n" * 20 + content.replace(b"\n", b"") + b"\x00end\n"
    assert len(read(line)[0]) == 21


def test_invalid_utf16_is_refused_or_reported() -> None:
    with pytest.raises(DataError, match="line 2: is not valid UTF-16"):
        read(("\ufeff" + "a b\nc").encode("utf-16-le") + b"x")
    assert read("\ufeffa \ud800 b\nc d\n".encode("utf-16-le", errors="surrogatepass"))[0] == ["a \ufffd\ufffd\ufffd b", "c d"]


@pytest.mark.parametrize(
    ("head", "words", "remedy"),
    [
        (b"PK\x03\x04\x14\x00[Content_Types].xml", "spreadsheet", "export it as CSV"),
        (b"PK\x03\x04\x14\x00mimetypeapplication/vnd.oasis.opendocument.spreadsheet", "spreadsheet", "CSV"),
        (b"PK\x03\x04\x14\x00my.en", "zip archive", "unzip file"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\x00", "old Excel", "CSV"),
        (b"%PDF-1.7\n", "PDF", "plain UTF-8"),
        (b"{\\rtf1\\ansi", "RTF", "plain UTF-8"),
        (b"7z\xbc\xaf\x27\x1c\x00", "7z archive", "7z x file"),
        (b"SQLite format 3\x00", "SQLite", "CSV"),
        (b"PAR1\x15\x04", "Parquet", "JSON lines"),
        (b"my.en".ljust(257, b"\0") + b"ustar\x0000", "tar archive", "tar xf file"),
    ],
)
def test_what_is_no_text_is_refused_with_a_remedy(head: bytes, words: str, remedy: str) -> None:
    for content in (head, gzip.compress(head)):
        with pytest.raises(DataError, match=words) as caught:
            read(content)
        assert remedy in caught.value.hint


def test_words_that_begin_like_a_magic_number_are_text() -> None:
    assert read(b"BZh is a word\n")[0] == ["BZh is a word"]


def test_a_line_without_an_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transformer_cli.data.text.MAX_LINE_BYTES", 1000)
    with pytest.raises(DataError, match="line 2 is longer"):
        read(b"short\n" + b"x" * 1001)
