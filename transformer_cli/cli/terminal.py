"""Where words go: results to stdout as bytes, everything said to a person to stderr."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformer_cli import durable
from transformer_cli.errors import ConfigError, DataError, DiskError


def notify(message: str) -> None:
    """One message for the person at the terminal; progress bars stay whole."""
    from tqdm import tqdm

    tqdm.write(message, file=sys.stderr)


def print_line(text: str) -> None:
    """One line of a result on stdout."""
    write_stdout((text + "\n").encode(errors="surrogateescape"))  # a path may hold any bytes


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    print_line(json.dumps(value, indent=2, ensure_ascii=False))


def write_stdout(content: bytes) -> None:
    """Bytes to stdout at once, whatever the locale. Raises: DiskError; ends quietly if the reader has gone."""
    if sys.stdout is None:
        raise DiskError("standard output: cannot be written: it is closed")
    try:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    except OSError as error:
        # What is still buffered must not fail a second time when the interpreter flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            raise SystemExit(0) from None
        raise DiskError(f"standard output: cannot be written: {error.strerror}") from None


def exit_on_signal(*numbers: signal.Signals, note: Callable[[], str] = str) -> None:
    """From now on these signals end the program at once (128 + number): where nothing would be lost.

    A thread of its own waits for them: a handler, and the exception that Ctrl-C usually is, would first wait for
    whatever the main thread computes outside Python (training a tokenizer may take minutes), and for the batches
    that other threads are working on. `note` is what else to say. What a shell said to ignore stays ignored.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)

    def wait() -> None:
        number = os.read(reader, 1)[0]
        try:
            os.write(2, f"\ninterrupted{note()}\n".encode(errors="replace"))
        finally:
            os._exit(128 + number)

    for number in numbers:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: None)  # not the default, so that the number goes to the pipe
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=wait, daemon=True).start()


def finish_step_on_signal(handle: Callable[[int, Any], None], *numbers: signal.Signals) -> None:
    """The end of `exit_on_signal`: from now on `handle` is asked."""
    for number in numbers:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handle)
    signal.set_wakeup_fd(-1)


def check_output(path: Path | None, *others: Path | None, makes_directory: bool = False) -> None:
    """Asked before the work, not after it.

    `others`: what the same command reads or writes. Raises: ConfigError if `path`, or the file beside it that it
    grows in, is one of them; DiskError if nothing could be written to it.
    """
    if path is None or (path.exists() and not path.is_dir() and not durable.is_regular(path)):
        return
    target = path.resolve()
    for other in others:
        if other is not None and any(_same(place, other) for place in (target, durable.partial_path(target))):
            raise ConfigError(
                f"{path}: is also read or written otherwise by this command", hint="give another output"
            )
    if path.is_dir():
        raise DiskError(f"{path}: cannot be written: is a directory")
    place = target.parent
    while makes_directory and not place.exists():
        place = place.parent
    if not (place.is_dir() and os.access(place, os.W_OK)):
        raise DiskError(f"{path}: cannot be written: no such directory, or no permission")


def _same(a: Path, b: Path) -> bool:
    return a.samefile(b) if a.exists() and b.exists() else a.resolve() == b.resolve()


def require_file(path: Path) -> Path:
    """The path, if there is a file. Raises: DataError."""
    if not path.exists() or path.is_dir():
        raise DataError(f"{path}: {'is a directory' if path.exists() else 'no such file'}")
    return path
