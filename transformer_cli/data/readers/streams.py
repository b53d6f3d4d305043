"""Any text file or pipe as a stream of UTF-8 bytes: decompression, and UTF-16 and UTF-32.

Everything is streamed with bounded memory. Files that are known not to be text are refused with a remedy.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import unicodedata
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from transformer_cli.errors import DataError

BUFFER = 1 << 16
"""Bytes that are read at a time; the form of a file is recognised by at most this many bytes at its beginning."""
MAX_EXPANSION, FREE_EXPANSION = 200, 256 << 20
"""Maximum ratio of text to compressed bytes, beyond the first bytes of text; natural language stays below 20."""
MAX_WINDOW = 256 << 20
"""Memory, in bytes, that a compressed file may demand of its decompressor."""
NOT_TEXT: dict[bytes, tuple[str, str]] = {
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": (
        "is an old Excel or Word file",
        "open it in its program and save it as CSV (a spreadsheet) or as plain text in UTF-8",
    ),
    b"%PDF-": ("is a PDF", "save its text as plain UTF-8 text, one sentence per line"),
    b"{\\rtf": ("is an RTF document", "save it as plain UTF-8 text, one sentence per line"),
    b"7z\xbc\xaf\x27\x1c": ("is a 7z archive", "first: 7z x {0}"),
    b"Rar!\x1a\x07": ("is a RAR archive", "first: unrar x {0}"),
    b"SQLite format 3\x00": ("is an SQLite database", "export the table as CSV, and use --data"),
    b"PAR1": ("is a Parquet file", "export it as JSON lines or CSV, and use --data"),
}
"""First bytes of files that are not text -> (description, remedy)."""
SPREADSHEETS = (b"[Content_Types].xml", b"xl/", b"application/vnd.oasis.opendocument.spreadsheet")
"""Names at the beginning of the zip archives that Excel and LibreOffice write."""
BOMS = (
    (b"\xff\xfe\x00\x00", "utf-32-le"),
    (b"\x00\x00\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)
ENCODINGS = {
    "utf-16-le": "UTF-16 (little endian)",
    "utf-16-be": "UTF-16 (big endian)",
    "utf-32-le": "UTF-32 (little endian)",
    "utf-32-be": "UTF-32 (big endian)",
}
MIN_NUL_SHARE, MIN_PLAUSIBLE = 0.01, 0.99
"""Without a byte-order mark: the share of NUL bytes from which UTF-16 and UTF-32 are tried, and the share of
characters that must be assigned ones."""


@dataclass
class TextStream:
    """A stream of UTF-8 text.

    Attributes:
        stream: the bytes; `peek` returns the beginning.
        form: how the file was read, such as `compressed with gzip, UTF-16 (little endian)`; empty for plain UTF-8.
        transcoded: the file was in UTF-16 or UTF-32.
    """

    stream: io.BufferedReader
    form: str
    transcoded: bool


def open_text(source: BinaryIO, name: str) -> TextStream:
    """Convert a binary stream, recognised by its first bytes, to UTF-8.

    Args:
        source: an open file or pipe; not closed by this function.
        name: of the file, for the remedy in an error.

    Raises:
        DataError: the file is not text, or needs a package that is not installed. Reading raises it for compressed
            data that is damaged, incomplete or expands without limit, and for invalid UTF-16 or UTF-32.
    """
    stream = source if isinstance(source, io.BufferedReader) else io.BufferedReader(_Chunks(_chunks(source)), BUFFER)
    forms = []
    for magic, (description, decompress) in COMPRESSIONS.items():
        if stream.peek(len(magic)).startswith(magic) and _is_compressed(stream.peek(16), magic):
            counting = _Counting(stream)
            chunks = _checked(decompress(io.BufferedReader(counting, BUFFER)), counting, description)
            stream = io.BufferedReader(_Chunks(chunks), BUFFER)
            forms.append(f"compressed with {description}")
            break
    head = stream.peek(BUFFER)
    _reject_binary(head, name)
    codec, marked = detect_encoding(head)
    if codec:
        forms.append(ENCODINGS[codec] + ("" if marked else " without a byte-order mark"))
        stream = io.BufferedReader(_Chunks(_transcode(stream, codec)), BUFFER)
    return TextStream(stream, ", ".join(forms), bool(codec))


def detect_encoding(head: bytes) -> tuple[str, bool]:
    """The codec of UTF-16 or UTF-32 text, empty for any other, and whether it has a byte-order mark.

    Without a mark, a codec is accepted if the text decodes to assigned characters and has spaces or line ends.
    """
    if b"\0" not in head:
        return "", False
    for bom, codec in BOMS:
        if head.startswith(bom):
            return codec, True
    share = head.count(0) / len(head)
    if share < MIN_NUL_SHARE or (share < 3 * MIN_NUL_SHARE and _is_utf8(head)):
        return "", False
    found = [(_plausibility(head, codec), codec) for codec in ENCODINGS]
    separators, codec = max(found)
    return (codec, False) if separators > 0 else ("", False)


def _plausibility(head: bytes, codec: str) -> int:
    """The number of spaces and line ends if `head` is text in this encoding; 0 if it is not."""
    width = 4 if "32" in codec else 2
    try:
        text = codecs.getincrementaldecoder(codec)().decode(head[: len(head) // width * width])
    except UnicodeDecodeError:
        return 0
    assigned = sum(unicodedata.category(c) not in ("Cc", "Cn", "Co", "Cs") or c in "\t\n\r" for c in text)
    return sum(map(text.count, " \n")) if text and assigned >= MIN_PLAUSIBLE * len(text) else 0


def _is_utf8(head: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return True


def _is_compressed(head: bytes, magic: bytes) -> bool:
    """Whether a file is compressed, not a text that begins with the letters of bzip2's magic number."""
    return magic != b"BZh" or head[4:10] in (b"\x31\x41\x59\x26\x53\x59", b"\x17\x72\x45\x38\x50\x90")


def _reject_binary(head: bytes, name: str) -> None:
    if head.startswith(b"PK\x03\x04"):
        if any(member in head for member in SPREADSHEETS):
            hint = "export it as CSV (in UTF-8), and use --data FILE.csv"
            raise DataError("is a spreadsheet or office document, not text", hint=hint)
        raise DataError("is a zip archive, not text", hint=f"first: unzip {name}")
    if head[257:262] == b"ustar":
        raise DataError("is a tar archive, not text", hint=f"first: tar xf {name}")
    for magic, (description, remedy) in NOT_TEXT.items():
        if head.startswith(magic):
            raise DataError(f"{description}, not text", hint=remedy.format(name))


class _Chunks(io.RawIOBase):
    """A raw stream of the bytes that an iterator yields."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._rest = chunks, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count


class _Counting(io.RawIOBase):
    """A raw stream that counts what is read of another stream."""

    def __init__(self, stream: io.BufferedReader) -> None:
        self._stream, self.count = stream, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        chunk = self._stream.read1(len(buffer))
        buffer[: len(chunk)] = chunk
        self.count += len(chunk)
        return len(chunk)


def _chunks(stream: Any) -> Iterator[bytes]:
    while chunk := stream.read(BUFFER):
        yield chunk


def _checked(chunks: Iterator[bytes], counting: _Counting, description: str) -> Iterator[bytes]:
    """The chunks; errors of the decompressor become `DataError` with the place."""
    total = lines = 0
    try:
        for chunk in chunks:
            total += len(chunk)
            lines += chunk.count(b"\n")
            if total > FREE_EXPANSION + MAX_EXPANSION * counting.count:
                raise DataError(
                    f"expands to more than {MAX_EXPANSION} times its size ({description}): this is not text",
                    hint="decompress it yourself if it really is",
                )
            yield chunk
    except (OSError, EOFError, zlib.error, lzma.LZMAError, _zstd_error()) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise DataError(
            f"line {lines + 1}: the compressed data ({description}) is damaged or ends too early",
            hint="copy or download the file again",
        ) from None


def _gzip(stream: Any) -> Iterator[bytes]:
    yield from _chunks(gzip.GzipFile(fileobj=stream, mode="rb"))


def _bzip2(stream: Any) -> Iterator[bytes]:
    yield from _chunks(bz2.BZ2File(stream))


def _xz(stream: Any) -> Iterator[bytes]:
    data = stream.read(BUFFER)
    while data:
        decompressor = lzma.LZMADecompressor(memlimit=MAX_WINDOW)
        while not decompressor.eof:
            if decompressor.needs_input and not data:
                data = stream.read(BUFFER)
                if not data:
                    raise EOFError
            yield decompressor.decompress(data, BUFFER)
            data = b""
        data = (decompressor.unused_data or stream.read(BUFFER)).lstrip(b"\0")  # xz pads its streams with zeros


def _zstd(stream: Any) -> Iterator[bytes]:
    try:
        import zstandard
    except ImportError:
        raise DataError(
            "is compressed with zstd, which needs the package zstandard",
            hint="pip install zstandard, or decompress the file first: unzstd FILE",
        ) from None
    context = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW)
    data = stream.read(1024)
    while data:
        decompressor = context.decompressobj()
        while not decompressor.eof:
            if not data:
                raise EOFError
            # Small portions: each may expand to 128 KiB for every four bytes.
            yield decompressor.decompress(data[:1024])
            data = data[1024:] or (b"" if decompressor.eof else stream.read(1024))
        data = decompressor.unused_data + data or stream.read(1024)


def _zstd_error() -> type[BaseException]:
    try:
        import zstandard
    except ImportError:
        return EOFError
    return zstandard.ZstdError


COMPRESSIONS: dict[bytes, tuple[str, Callable[[Any], Iterator[bytes]]]] = {
    b"\x1f\x8b\x08": ("gzip", _gzip),
    b"BZh": ("bzip2", _bzip2),
    b"\xfd7zXZ\x00": ("xz", _xz),
    b"\x28\xb5\x2f\xfd": ("zstd", _zstd),
}
"""First bytes of compressed files -> (name, decompressor)."""
SUFFIXES = (".gz", ".bz2", ".xz", ".zst", ".zstd")
"""Suffixes of compressed files."""


def strip_compression(path: Path) -> Path:
    """The path without the suffix of a compression."""
    return path.with_suffix("") if path.suffix.lower() in SUFFIXES else path


def _transcode(stream: io.BufferedReader, codec: str) -> Iterator[bytes]:
    """UTF-8 bytes; a lone surrogate becomes bytes that are not UTF-8, which the caller reports with their line."""
    decoder = codecs.getincrementaldecoder(codec)("surrogatepass")
    lines, data = 0, b"start"
    while data:
        data = stream.read(BUFFER)
        try:
            text = decoder.decode(data, final=not data)
        except UnicodeDecodeError:
            raise DataError(
                f"line {lines + 1}: is not valid {ENCODINGS[codec]}, or ends in the middle of a character",
                hint=f"convert it, skipping what is invalid: iconv -c -f {codec} -t utf-8 FILE > FILE.utf8",
            ) from None
        lines += text.count("\n")
        yield text.encode("utf-8", errors="surrogatepass")
