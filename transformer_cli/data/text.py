"""Conversion between bytes and lines of text.

Only `\\n` ends a line. One trailing `\\r` and a byte order mark at the start of the file are removed. A last line
without `\\n` is a line. Invalid UTF-8 is replaced and reported. NUL and the characters that other programs treat
as line ends become spaces, so that one input line is always one output line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from transformer_cli.errors import DataError
from transformer_cli.unicode_scripts import HAN, KANA, UNSPACED

Notify = Callable[[str], None]
"""Receives one message for the user."""

BOM = b"\xef\xbb\xbf"
FORBIDDEN = re.compile("[\x00\x0b\x0c\r\x1c\x1d\x1e\x85\u2028\u2029]")
"""NUL, VT, FF, lone CR, the separators of `str.splitlines`, NEL, and Unicode's line and paragraph separators."""
REPORTED_LINES = 5
"""Maximum number of line numbers in a message."""
OTHER_ENCODING_LINES, OTHER_ENCODING_SHARE = 10, 0.02
"""From this number and this share of lines that are not UTF-8, the file is assumed to have another encoding."""
BINARY = {
    b"\x1f\x8b": ("is compressed by gzip", "gunzip -k {0}"),
    b"PK\x03\x04": ("is a zip archive", "unzip {0}"),
    b"BZh": ("is compressed by bzip2", "bunzip2 -k {0}"),
    b"\xfd7zXZ": ("is compressed by xz", "unxz -k {0}"),
    b"\x28\xb5\x2f\xfd": ("is compressed by zstd", "unzstd {0}"),
    b"\xff\xfe": ("is in UTF-16", "iconv -f utf-16 -t utf-8 {0} > {0}.utf8"),
    b"\xfe\xff": ("is in UTF-16", "iconv -f utf-16 -t utf-8 {0} > {0}.utf8"),
}
"""First bytes of compressed and UTF-16 files -> (description, command that converts the file to text)."""
UNSPACED_SHARE = 0.3
"""Share of unspaced characters above which splitting a text at spaces does not give words."""
HAN_PER_KANA = 20
"""Ratio of Han characters to kana above which a text is Chinese; Japanese text has far more kana."""


@dataclass
class LineReport:
    """Counts of the lines that were repaired while reading, with the first line numbers (from 1)."""

    bad_utf8: int = 0
    bad_utf8_lines: list[int] = field(default_factory=list)
    control: int = 0
    control_lines: list[int] = field(default_factory=list)
    lines: int = 0
    binary_format: str = ""
    """Description of a file that is not plain text, with the command that converts it; empty for text."""

    @property
    def _encoding_hint(self) -> str:
        if self.bad_utf8 < max(OTHER_ENCODING_LINES, OTHER_ENCODING_SHARE * self.lines):
            return ""
        return "; if it is in Latin-1, convert it first: iconv -f latin1 -t utf-8"

    def messages(self, name: str) -> list[str]:
        """One message for each kind of repair; empty if there was none."""
        messages = []
        if self.bad_utf8:
            messages.append(
                f"{name}: {self.bad_utf8} lines have bytes that are not UTF-8; they were replaced by U+FFFD "
                f"(lines {_format_lines(self.bad_utf8_lines)}){self._encoding_hint}"
            )
        if self.control:
            messages.append(
                f"{name}: {self.control} lines have control characters or other line ends; they were replaced by "
                f"spaces (lines {_format_lines(self.control_lines)})"
            )
        return messages


def _format_lines(lines: list[int]) -> str:
    return ", ".join(map(str, lines)) + (", ..." if len(lines) == REPORTED_LINES else "")


def decode_line(raw: bytes, number: int, report: LineReport) -> str:
    """Decode a line without its `\\n` to text without line ends of any kind, and update `report`. Never fails."""
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
    """Convert a command line argument, which has invalid UTF-8 as surrogate escapes, to one line of text."""
    return one_line(text.encode("utf-8", errors="surrogateescape").decode("utf-8", errors="replace"))


def iter_lines(stream: BinaryIO, report: LineReport, *, strict_utf8: bool = False) -> Iterator[str]:
    """The lines of a binary stream, each as soon as its `\\n` is read.

    Raises:
        DataError: with `strict_utf8`, at the first line that is not UTF-8.
    """
    # Iteration over a binary stream splits at \n only.
    for number, raw in enumerate(stream, start=1):
        line = decode_line(raw.removesuffix(b"\n"), number, report)
        if strict_utf8 and report.bad_utf8:
            raise DataError(
                f"line {number} is not UTF-8", hint="convert it, for example: iconv -f latin1 -t utf-8"
            )
        yield line


def binary_format(head: bytes, name: str) -> tuple[str, str] | None:
    """Detect compressed and UTF-16 files by their first bytes: (description, hint), or None for text."""
    for magic, (description, command) in BINARY.items():
        if head.startswith(magic) and b"\0" in head:
            return f"{description}, not plain UTF-8 text", f"convert it first: {command.format(name)}"
    return None


def stream_lines(
    path: Path, report: LineReport, *, strict_utf8: bool = False, reject_binary: bool = False
) -> Iterator[str]:
    """The lines of a file, which may be a pipe, as they are read; `report` is updated.

    Args:
        strict_utf8: raise an error for a line that is not UTF-8 instead of replacing its bytes.
        reject_binary: raise an error for a compressed or UTF-16 file instead of setting `binary_format`.

    Raises:
        DataError: no such file, not readable, or rejected by `strict_utf8` or `reject_binary`.
    """
    try:
        with path.open("rb") as stream:
            if detected := binary_format(stream.peek(), str(path)):
                description, hint = detected
                if reject_binary:
                    raise DataError(description, hint=hint)
                report.binary_format = f"{description}; {hint}"
            yield from iter_lines(stream, report, strict_utf8=strict_utf8)
    except DataError as error:
        raise DataError(f"{path}: {error.what}", hint=error.hint) from None
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise DataError(f"{path}: is a directory, not a text file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None


def read_lines(
    path: Path, *, strict_utf8: bool = False, reject_binary: bool = False
) -> tuple[list[str], LineReport]:
    """All lines of a file, and the report of what was repaired. Arguments and errors as in `stream_lines`."""
    report = LineReport()
    lines = list(stream_lines(path, report, strict_utf8=strict_utf8, reject_binary=reject_binary))
    return lines, report


def read_text(path: Path, notify: Notify, *, strict_utf8: bool = False) -> list[str]:
    """Read all lines of a text file, and report each repair as a warning.

    Raises:
        DataError: as `read_lines`; a compressed or UTF-16 file is an error.
    """
    lines, report = read_lines(path, strict_utf8=strict_utf8, reject_binary=True)
    for message in report.messages(str(path)):
        notify(f"warning: {message}")
    return lines


def detect_script(text: str) -> str:
    """The prevailing kind of script: `chinese`, `unspaced` (others without spaces between words), or `spaced`."""
    unspaced = "".join(UNSPACED.findall(text))
    if len(unspaced) <= len("".join(text.split())) * UNSPACED_SHARE:
        return "spaced"
    han, kana = (len(re.findall(f"[{script}]", unspaced)) for script in (HAN, KANA))
    return "chinese" if han > HAN_PER_KANA * kana and han > len(unspaced) / 2 else "unspaced"


def encode_lines(lines: Iterable[str]) -> bytes:
    """Encode lines as UTF-8, each followed by one `\\n`; line ends inside a line become spaces."""
    return "".join(one_line(line) + "\n" for line in lines).encode("utf-8", errors="replace")


def one_line(text: str) -> str:
    """The text with every line end replaced by a space."""
    return FORBIDDEN.sub(" ", text.replace("\n", " "))
