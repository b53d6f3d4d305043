"""Fingerprints of files: whether they still have the content that was read before.

The SHA-256 of the content decides. It is computed again unless size, inode, and the times of the last change of
content and status are those of the file whose hash is known, and were at least `SETTLED_SECONDS` old when it was
computed: a later change would then have changed a time.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from transformer_cli import durable

SETTLED_SECONDS = 3.0
"""Age of the last change from which the resolution of the times of a file system does not matter."""


@dataclass(frozen=True)
class Fingerprint:
    """A file and its content.

    Attributes:
        path: the file, as it was named.
        status: size, inode, and the nanoseconds of the last change of the content and of the status.
        settled: whether the last change was old enough when `sha256` was computed.
    """

    path: str
    status: tuple[int, int, int, int]
    settled: bool
    sha256: str


def take_fingerprints(paths: Iterable[Path], known: Sequence[Fingerprint] = ()) -> list[Fingerprint] | None:
    """The fingerprints of files; None if one of them is no regular file (missing, or a pipe) or is being changed.

    Args:
        known: earlier fingerprints, whose hashes are used again where the status is the same.
    """
    earlier = {(one.path, one.status): one for one in known if one.settled}
    found = []
    for path in paths:
        status = _status(path)
        if status is None:
            return None
        one = earlier.get((str(path), status))
        if one is None:
            now = time.time_ns()
            settled = max(status[2:]) < now - SETTLED_SECONDS * 1e9
            try:
                one = Fingerprint(str(path), status, settled, durable.sha256_file(path))
            except OSError:
                return None
            if _status(path) != status:
                return None
        found.append(one)
    return found


def unchanged(fingerprints: Iterable[Fingerprint]) -> bool:
    """Whether the files have the same status as when their fingerprints were taken."""
    return all(_status(Path(one.path)) == one.status for one in fingerprints)


def contents(fingerprints: Iterable[Fingerprint]) -> list[tuple[str, str]]:
    """Names and hashes of the files."""
    return [(one.path, one.sha256) for one in fingerprints]


def dump(fingerprints: Iterable[Fingerprint]) -> list[dict[str, Any]]:
    """Plain values for JSON."""
    return [asdict(one) for one in fingerprints]


def parse(values: Iterable[Mapping[str, Any]]) -> list[Fingerprint]:
    """Read what `dump` returned. Raises: KeyError, TypeError, ValueError."""
    found = []
    for value in values:
        size, inode, modified, changed = map(int, value["status"])
        status = (size, inode, modified, changed)
        found.append(Fingerprint(str(value["path"]), status, value["settled"] is True, str(value["sha256"])))
    return found


def _status(path: Path) -> tuple[int, int, int, int] | None:
    try:
        if not path.is_file():
            return None
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns
