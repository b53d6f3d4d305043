"""The text that `translate` reads: a file or a stream, all of it or a shard, in chunks."""

from __future__ import annotations

import queue
import re
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from transformer_cli.data.readers.corpus_files import read_form
from transformer_cli.data.text import LineReport, iter_text, stream_lines
from transformer_cli.errors import ConfigError

FIRST_CHUNK = 256
"""Lines of the first chunk of a file: small, for early output. Later chunks double, for throughput."""
CHUNK_TIMEOUT = 0.05
"""Seconds to wait for more lines of a stream after the first of a chunk, so that a fast writer fills a batch."""


@dataclass(frozen=True)
class Shard:
    """Part `index`, from 1, of `count` contiguous parts of a text, whose sizes differ by at most one line."""

    index: int
    count: int

    @staticmethod
    def parse(text: str) -> Shard:
        """Read `K/N`. Raises: ConfigError."""
        match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
        shard = Shard(*map(int, match.groups())) if match else None
        if shard is None or not 1 <= shard.index <= shard.count:
            raise ConfigError(f"--shard {text}: is not K/N with K from 1 to N", hint="for example: --shard 3/16")
        return shard

    def lines(self, total: int) -> range:
        """Numbers of the lines of this shard, from 0, in a text of `total` lines."""
        return range((self.index - 1) * total // self.count, self.index * total // self.count)


@dataclass(frozen=True)
class SourceText:
    """The lines to translate, not yet read.

    Attributes:
        name: of the file, for messages.
        lines: the lines; each is read when it is needed.
        report: what was repaired in the whole text; complete once `lines` is exhausted.
        first: number of the first line in the whole text, from 0.
        notes: about the form of the file.
        total: number of lines; None for a stream, whose end is unknown.
    """

    name: str
    lines: Iterator[str]
    report: LineReport
    first: int = 0
    total: int | None = None
    notes: Sequence[str] = ()

    @staticmethod
    def open(path: Path | None, *, strict_utf8: bool, shard: Shard | None) -> SourceText:
        """Open a file, or stdin if `path` is None. A regular file is read twice: its lines are counted first.

        Raises:
            DataError: no such file, not readable, or not UTF-8 with `strict_utf8`.
            ConfigError: a shard of a stream.
        """
        report = LineReport()
        if path is not None and path.is_file():
            for _ in stream_lines(path, report, strict_utf8=strict_utf8):
                pass
            form = read_form(path)
            notes = (
                [f"warning: {path}: is {form.description}; its lines are translated as they are"] if form else []
            )
            part = shard.lines(report.lines) if shard else range(report.lines)
            lines = islice(stream_lines(path, LineReport()), part.start, part.stop)
            return SourceText(str(path), lines, report, part.start, len(part), notes)
        if shard is not None:
            raise ConfigError(
                "--shard needs INPUT to be a file: the number of lines of a stream is not known beforehand"
            )
        if path is not None:
            return SourceText(str(path), stream_lines(path, report, strict_utf8=strict_utf8), report)
        # Not sys.stdin: the reading thread holds the lock of its stream, and the interpreter takes the lock of
        # sys.stdin when it exits.
        stdin = open(0, "rb", closefd=False)  # noqa: SIM115
        return SourceText("stdin", iter_text(stdin, "stdin", report, strict_utf8=strict_utf8), report)


def read_chunks(lines: Iterator[str], size: int, *, eager: bool) -> Iterator[list[str]]:
    """Split into lists of at most `size` lines. `eager`: yield available lines instead of waiting for more."""
    if not eager:
        chunk_size = min(FIRST_CHUNK, size)
        while chunk := list(islice(lines, chunk_size)):
            yield chunk
            chunk_size = min(2 * chunk_size, size)
        return
    pending: queue.Queue[str | BaseException | None] = queue.Queue(maxsize=4 * size)

    def read() -> None:
        try:
            for line in lines:
                pending.put(line)
            pending.put(None)
        except BaseException as error:  # raised again in the consuming thread
            pending.put(error)

    threading.Thread(target=read, daemon=True).start()
    at_end = False
    while not at_end:
        chunk = []
        item = pending.get()
        deadline = time.monotonic() + CHUNK_TIMEOUT
        while isinstance(item, str):
            chunk.append(item)
            if len(chunk) == size:
                break
            try:
                item = pending.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                break
        if chunk:
            yield chunk
        if isinstance(item, BaseException):
            raise item
        at_end = item is None
