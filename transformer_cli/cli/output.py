"""Where words go: results to stdout as bytes, everything said to a person to stderr."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from transformer_cli.errors import ConfigError, DataError, DiskError


def say(message: str) -> None:
    """One message for the person at the terminal; progress bars stay whole."""
    from tqdm import tqdm

    tqdm.write(message, file=sys.stderr)


def tell(text: str) -> None:
    """One line of a result on stdout."""
    write_stdout((text + "\n").encode())


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    tell(json.dumps(value, indent=2, ensure_ascii=False))


def write_stdout(content: bytes) -> None:
    """Bytes to stdout at once, whatever the locale. Raises: DiskError; ends quietly if the reader has gone."""
    try:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    except OSError as error:
        # What is still buffered must not fail a second time when the interpreter flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            raise SystemExit(0) from None
        raise DiskError(f"standard output: cannot be written: {error.strerror}") from None


def leave_on_interrupt() -> None:
    """From now on Ctrl-C ends the program at once, with 130: for commands whose results are out once written.

    The usual exception would first wait for the batches that threads are working on, and is lost when it comes up
    in a destructor.
    """

    def leave(number: int, frame: object) -> None:
        os.write(2, b"\ninterrupted\n")
        os._exit(128 + number)

    signal.signal(signal.SIGINT, leave)


def check_output(path: Path | None, *others: Path | None) -> None:
    """Asked before the work, not after it.

    `others`: what the same command reads or writes. Raises: ConfigError if `path` is one of them; DiskError if
    nothing could be written to it.
    """
    taken = [o for o in others if path is not None and o is not None and o.resolve() == path.resolve()]
    if taken and not (path is not None and path.is_char_device()):
        raise ConfigError(f"{path}: is also read or written otherwise by this command", hint="give another output")
    if path is not None and path.is_dir():
        raise DiskError(f"{path}: cannot be written: is a directory")
    if path is not None and not (path.parent.is_dir() and os.access(path.parent, os.W_OK)):
        raise DiskError(f"{path}: cannot be written: no such directory, or no permission")


def existing(path: Path) -> Path:
    """The path, if there is a file. Raises: DataError."""
    if not path.exists() or path.is_dir():
        raise DataError(f"{path}: {'is a directory' if path.exists() else 'no such file'}")
    return path
