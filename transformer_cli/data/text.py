"""The line contract: how bytes become lines, and lines bytes.

Only `\\n` ends a line; one trailing `\\r` is stripped; a byte order mark counts at the start of a file only; a
last line without `\\n` counts. Bad UTF-8 is replaced and reported. Characters that other programs take
for line ends, and NUL, become a space, so that one line in is one line out whatever stands in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from transformer_cli.errors import DataError

BOM = b"\xef\xbb\xbf"
FORBIDDEN = re.compile("[\x00\x0b\x0c\r\x1c\x1d\x1e\x85\u2028\u2029]")
"""NUL, VT, FF, lone CR, the separators of `str.splitlines`, NEL, and Unicode's line and paragraph ends."""
REPORTED_LINES = 5
ENCODED_LINES, ENCODED_SHARE = 10, 0.02
"""So many lines that are not UTF-8, and this share of all, are no accident but another encoding."""
BINARY = {
    b"\x1f\x8b": ("is compressed by gzip", "gunzip -k {0}"),
    b"PK\x03\x04": ("is a zip archive", "unzip {0}"),
    b"BZh": ("is compressed by bzip2", "bunzip2 -k {0}"),
    b"\xfd7zXZ": ("is compressed by xz", "unxz -k {0}"),
    b"\x28\xb5\x2f\xfd": ("is compressed by zstd", "unzstd {0}"),
    b"\xff\xfe": ("is in UTF-16", "iconv -f utf-16 -t utf-8 {0} > {0}.utf8"),
    b"\xfe\xff": ("is in UTF-16", "iconv -f utf-16 -t utf-8 {0} > {0}.utf8"),
}
"""How files begin that hold text in another form, and what turns them into text."""
UNSPACED_SHARE = 0.3
"""Of the characters of a text, from which on splitting it at spaces finds no words."""
HAN_PER_KANA = 20
"""Chinese characters for each kana, from which on a text is Chinese with a Japanese name in it."""
HAN, KANA = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff", "\u3040-\u30ff"
UNSPACED = re.compile(f"[{HAN}{KANA}\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]")
"""A character of a script that puts no space between words: Chinese, Japanese, Thai, Lao, Burmese, Khmer."""


@dataclass
class LineReport:
    """What had to be mended while reading, with the first line numbers (from 1)."""

    bad_utf8: int = 0
    bad_utf8_lines: list[int] = field(default_factory=list)
    control: int = 0
    control_lines: list[int] = field(default_factory=list)
    lines: int = 0
    binary_format: str = ""
    """What kind of file it is instead of text, with the command that makes text of it."""

    @property
    def guess(self) -> str:
        """What a file with many such lines probably is."""
        if self.bad_utf8 < max(ENCODED_LINES, ENCODED_SHARE * self.lines):
            return ""
        return "; if it is in Latin-1, convert it first: iconv -f latin1 -t utf-8"

    def messages(self, name: str) -> list[str]:
        """One sentence for each kind of damage; empty if there was none."""
        found = []
        if self.bad_utf8:
            found.append(
                f"{name}: {self.bad_utf8} lines with bytes that are not UTF-8, replaced "
                f"(lines {_first(self.bad_utf8_lines)}){self.guess}"
            )
        if self.control:
            found.append(
                f"{name}: {self.control} lines with control characters or foreign line ends, made spaces "
                f"(lines {_first(self.control_lines)})"
            )
        return found


def _first(lines: list[int]) -> str:
    return ", ".join(map(str, lines)) + (", ..." if len(lines) == REPORTED_LINES else "")


def decode_line(raw: bytes, number: int, report: LineReport) -> str:
    """One line without its `\\n` -> text that holds no line end of any kind. Never fails."""
    if number == 1:
        raw = raw.removeprefix(BOM)
    raw = raw.removesuffix(b"\r")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("utf-8", errors="replace")
        report.bad_utf8 += 1
        if len(report.bad_utf8_lines) < REPORTED_LINES:
            report.bad_utf8_lines.append(number)
    text, replaced = FORBIDDEN.subn(" ", text)
    report.lines = number
    if replaced:
        report.control += 1
        if len(report.control_lines) < REPORTED_LINES:
            report.control_lines.append(number)
    return text


def decode_argument(text: str) -> str:
    """What a command line gave (bytes that are not UTF-8 as surrogates) -> text by the line contract."""
    return one_line(text.encode("utf-8", errors="surrogateescape").decode("utf-8", errors="replace"))


def iter_lines(
    stream: BinaryIO, report: LineReport, *, strict_utf8: bool = False
) -> Iterator[str]:
    """The lines of a binary stream, each as soon as its `\\n` has come.

    Raises:
        DataError: with `strict_utf8`, at the first line that is not UTF-8.
    """
    # A binary file splits on \n only: exactly the contract.
    for number, raw in enumerate(stream, start=1):
        line = decode_line(raw.removesuffix(b"\n"), number, report)
        if strict_utf8 and report.bad_utf8:
            raise DataError(
                f"line {number} is not UTF-8", hint="convert it, for example: iconv -f latin1 -t utf-8"
            )
        yield line


def binary_format(head: bytes, name: str) -> tuple[str, str] | None:
    """What a file that begins so is, if not text: compressed, or in an encoding with a NUL in each character."""
    for start, (what, tool) in BINARY.items():
        if head.startswith(start) and b"\0" in head:
            return f"{what}, not plain UTF-8 text", f"first: {tool.format(name)}"
    return None


def read_lines(
    path: Path, *, strict_utf8: bool = False, reject_binary: bool = False
) -> tuple[list[str], LineReport]:
    """All lines of a file, which may be a pipe, and what had to be mended.

    `reject_binary` is for corpora, where nobody wants compressed bytes as text; `translate` takes whatever comes,
    and the report says what it looks like.

    Raises:
        DataError: no such file, not readable, or (as asked) not UTF-8, or binary.
    """
    report = LineReport()
    try:
        with path.open("rb") as stream:
            if found := binary_format(stream.peek(), str(path)):
                what, hint = found
                if reject_binary:
                    raise DataError(what, hint=hint)
                report.binary_format = f"{what}; {hint}"
            lines = list(iter_lines(stream, report, strict_utf8=strict_utf8))
    except DataError as error:
        raise DataError(f"{path}: {error.what}", hint=error.hint) from None
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise DataError(f"{path}: is a directory, not a text file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    return lines, report


def detect_script(text: str) -> str:
    """`chinese`, `unspaced` (another script that puts no space between words), or `spaced`: what most of it is."""
    unspaced = "".join(UNSPACED.findall(text))
    if len(unspaced) <= len("".join(text.split())) * UNSPACED_SHARE:
        return "spaced"
    han, kana = (len(re.findall(f"[{some}]", unspaced)) for some in (HAN, KANA))
    return "chinese" if han > HAN_PER_KANA * kana and han > len(unspaced) / 2 else "unspaced"


def encode_lines(lines: Iterable[str]) -> bytes:
    """Text lines -> bytes, one `\\n` after each, whatever stands in them."""
    return "".join(one_line(line) + "\n" for line in lines).encode("utf-8", errors="replace")


def one_line(text: str) -> str:
    """The text without anything that ends a line."""
    return FORBIDDEN.sub(" ", text.replace("\n", " "))
