"""Reading files that somebody else may have made: regular files only, of bounded size.

A FIFO would block for ever, a device such as /dev/zero has no end, and a link may lead anywhere. Errors are
OSErrors whose `strerror` says what is wrong.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any


def read_bounded(path: Path, max_bytes: int) -> bytes:
    """The content of a regular file of at most this size. Raises: OSError; also for a link."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | _no_follow(path))
    with os.fdopen(descriptor, "rb") as stream:
        status = os.fstat(descriptor)
        _require_regular(status, path)
        # Not max_bytes + 1: `read` allocates what it is asked for.
        content = stream.read(status.st_size + 1) if status.st_size <= max_bytes else b""
    if max(status.st_size, len(content)) > max_bytes:
        raise OSError(errno.EFBIG, f"larger than {max_bytes:,} bytes", str(path))
    return content


def read_json_object(path: Path, max_bytes: int) -> dict[str, Any]:
    """The JSON object in a file that the program can do without; empty if it is missing or damaged."""
    try:
        value = json.loads(read_bounded(path, max_bytes))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def require_regular(path: Path) -> None:
    """Check that a path is a regular file, and not a link. Raises: OSError."""
    _no_follow(path)
    _require_regular(path.stat(), path)


def _no_follow(path: Path) -> int:
    if path.is_symlink():
        raise OSError(errno.ELOOP, "is a link, not a regular file", str(path))
    return getattr(os, "O_NOFOLLOW", 0)


def _require_regular(status: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = "is a directory" if stat.S_ISDIR(status.st_mode) else "is not a regular file"
        raise OSError(errno.EINVAL, kind, str(path))
