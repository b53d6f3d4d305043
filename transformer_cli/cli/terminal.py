"""Streams and signals: results to stdout as bytes, messages to stderr, and what Ctrl-C does."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformer_cli.errors import DataError, DiskError


def notify(message: str) -> None:
    """Print a message to stderr without breaking a progress bar."""
    from tqdm import tqdm

    tqdm.write(message, file=sys.stderr)


def print_line(text: str) -> None:
    """Print one line of a result to stdout."""
    write_stdout((text + "\n").encode(errors="surrogateescape"))  # a path may contain any bytes


def print_json(value: Any) -> None:
    """Print one JSON document to stdout."""
    print_line(json.dumps(value, indent=2, ensure_ascii=False))


def write_stdout(content: bytes) -> None:
    """Write bytes to stdout and flush, whatever the locale.

    Exits quietly if the reader of a pipe has closed it. Raises: DiskError.
    """
    if sys.stdout is None:
        raise DiskError("standard output: cannot be written: it is closed")
    try:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    except OSError as error:
        # The interpreter flushes again at exit: what is still buffered must not fail a second time.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            raise SystemExit(0) from None
        raise DiskError(f"standard output: cannot be written: {error.strerror}") from None


def exit_on_signal(*numbers: signal.Signals, note: Callable[[], str] = str) -> None:
    """From now on, end the process at once at these signals, with exit code 128 + number.

    For phases in which nothing is lost. A thread waits for the signals: a handler, and the KeyboardInterrupt that
    Ctrl-C usually raises, would run only after the main thread returns from native code (training a tokenizer may
    take minutes) and after the batches that other threads compute. Signals that the shell ignores stay ignored.

    Args:
        note: text to add to the message.
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
            signal.signal(number, lambda *_: None)  # not SIG_DFL: only a handler writes the number to the pipe
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=wait, daemon=True).start()


def finish_step_on_signal(handle: Callable[[int, Any], None], *numbers: signal.Signals) -> None:
    """Undo `exit_on_signal`: from now on, these signals call `handle`."""
    for number in numbers:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handle)
    signal.set_wakeup_fd(-1)


def require_file(path: Path) -> Path:
    """Return the path. Raises: DataError if it is not a file."""
    if not path.exists() or path.is_dir():
        raise DataError(f"{path}: {'is a directory' if path.exists() else 'no such file'}")
    return path
