"""Where words go: results to stdout as bytes, everything said to a person to stderr."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import typer


def say(message: str) -> None:
    """One message for the person at the terminal; progress bars stay whole."""
    from tqdm import tqdm

    tqdm.write(message, file=sys.stderr)


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    import json

    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def write_stdout(content: bytes) -> None:
    """Bytes to stdout at once, whatever the locale."""
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


def existing(path: Path) -> Path:
    """The path, if there is a file. Raises: DataError."""
    from transformer_cli.errors import DataError

    if not path.is_file():
        raise DataError(f"{path}: {'is not a file' if path.exists() else 'no such file'}")
    return path
