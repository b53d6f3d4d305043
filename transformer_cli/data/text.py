"""Conversion between bytes and lines of text.

Only `\\n` ends a line. One trailing `\\r` and a byte order mark at the start of the file are removed. A last line
without `\\n` is a line. Invalid UTF-8 is replaced and reported. NUL and the characters that other programs treat
as line ends become spaces, so that one input line is always one output line.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import BinaryIO

from transformer_cli.data.readers.streams import BUFFER, open_text
from transformer_cli.errors import DataError
from transformer_cli.unicode_scripts import HAN, KANA, UNSPACED

Notify = Callable[[str], None]
"""Receives one message for the user."""

BOM = b"\xef\xbb\xbf"
FORBIDDEN = re.compile("[\x00\x0b\x0c\r\x1c\x1d\x1e\x85\u2028\u2029]")
"""NUL, VT, FF, lone CR, the separators of `str.splitlines`, NEL, and Unicode's line and paragraph separators."""
MAX_LINE_BYTES = 64 << 20
"""Size limit of a line; it bounds the memory for a file without line ends."""
REPORTED_LINES = 5
"""Maximum number of line numbers in a message."""
OTHER_ENCODING_LINES, OTHER_ENCODING_SHARE = 10, 0.02
"""From this number and this share of lines that are not UTF-8, the file is assumed to have another encoding."""
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
    form: str = ""
    """How a file that is not plain UTF-8 is read, such as `compressed with gzip`; empty for plain UTF-8."""

    @property
    def _encoding_hint(self) -> str:
        if self.bad_utf8 < max(OTHER_ENCODING_LINES, OTHER_ENCODING_SHARE * self.lines):
            return ""
        return "; if it is in Latin-1, convert it first: iconv -f latin1 -t utf-8"

    def note(self, name: str) -> list[str]:
        """How the file is read, as one note, if it is not plain UTF-8."""
        return [f"note: {name}: text, {self.form}"] if self.form else []

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
        DataError: a line above `MAX_LINE_BYTES`; with `strict_utf8`, the first line that is not UTF-8.
    """
    for number in count(1):
        raw = stream.readline(MAX_LINE_BYTES)  # splits at \n only
        if not raw:
            return
        if len(raw) == MAX_LINE_BYTES:
            raise DataError(f"line {number} is longer than {MAX_LINE_BYTES >> 20} MiB: this is not a text file")
        line = decode_line(raw.removesuffix(b"\n"), number, report)
        if strict_utf8 and report.bad_utf8:
            raise DataError(
                f"line {number} is not UTF-8", hint="convert it, for example: iconv -f latin1 -t utf-8"
            )
        yield line


def iter_text(source: BinaryIO, name: str, report: LineReport, *, strict_utf8: bool = False) -> Iterator[str]:
    """`iter_lines` of a stream that may be compressed, or in UTF-16 or UTF-32; `report.form` says how it is read.

    Raises:
        DataError: as `open_text` and `iter_lines`.
    """
    text = open_text(source, name)
    report.form = text.form
    yield from iter_lines(text.stream, report, strict_utf8=strict_utf8)


@contextlib.contextmanager
def open_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file or pipe for reading. Raises: DataError, also for errors inside the context, naming the file."""
    try:
        with path.open("rb", buffering=BUFFER) as stream:
            yield stream
    except DataError as error:
        raise DataError(f"{path}: {error.what}", hint=error.hint) from None
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise DataError(f"{path}: is a directory, not a text file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None


def stream_lines(path: Path, report: LineReport, *, strict_utf8: bool = False) -> Iterator[str]:
    """The lines of a file, which may be a pipe, as they are read; `report` is updated.

    Args:
        strict_utf8: raise an error for a line that is not UTF-8 instead of replacing its bytes.

    Raises:
        DataError: no such file, not readable, not text, or rejected by `strict_utf8`.
    """
    with open_file(path) as stream:
        yield from iter_text(stream, str(path), report, strict_utf8=strict_utf8)


def read_lines(path: Path, *, strict_utf8: bool = False) -> tuple[list[str], LineReport]:
    """All lines of a file, and the report of what was repaired. Arguments and errors as in `stream_lines`."""
    report = LineReport()
    return list(stream_lines(path, report, strict_utf8=strict_utf8)), report


def read_text(path: Path, notify: Notify, *, strict_utf8: bool = False) -> list[str]:
    """Read all lines of a text file, and report each repair as a warning. Raises: DataError, as `read_lines`."""
    return list(stream_text(path, notify, strict_utf8=strict_utf8))


def stream_text(path: Path, notify: Notify, *, strict_utf8: bool = False) -> Iterator[str]:
    """The lines of a text file as they are read; each repair is reported at the end. Raises: DataError."""
    report = LineReport()
    yield from stream_lines(path, report, strict_utf8=strict_utf8)
    for note in report.note(str(path)):
        notify(note)
    for message in report.messages(str(path)):
        notify(f"warning: {message}")


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
