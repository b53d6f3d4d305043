"""The one module that writes what must last.

A file is written under a temporary name in its own directory, synced, renamed, and the directory synced; after
a crash at any point the old content or the new one is there, never a mixture. The file operations are a
value (`FileOps`), so that tests can make the N-th of them fail.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

from transformer_cli.errors import DiskError

TEMPORARY = ".tmp"
"""Suffix of what is not finished. Its name also begins with a dot: a user's own `notes.tmp` is not ours."""

STREAMS = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}
DESCRIPTOR = re.compile(r"(?:/dev|/proc/self)/fd/(\d+)")
"""Names of what is open already."""


@dataclass(frozen=True)
class FileOps:
    """The operations that durability rests on."""

    write: Callable[[int, memoryview], int] = os.write
    fsync: Callable[[int], None] = os.fsync
    replace: Callable[[Path, Path], None] = os.replace


OPS = FileOps()


def write_bytes(path: Path, content: bytes, ops: FileOps = OPS) -> None:
    """Replace the file's content, durably and all at once.

    Raises:
        DiskError: the file system refused; the old content is intact.
    """
    # Of this process alone: a neighbour's file of a similar name is not ours to overwrite.
    temporary = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY}")
    with _as_disk_error(path, len(content)):
        try:
            _write_synced(temporary, content, ops)
            _copy_mode(temporary, path)
            ops.replace(temporary, path)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        sync_directory(path.parent, ops)


def write_output(path: Path, content: bytes) -> None:
    """Replace a file all at once; write straight into what is no file of its own, such as a pipe.

    Missing directories are made. Raises: DiskError.
    """
    if is_regular(path):
        make_directory(path.resolve().parent)
        write_bytes(path.resolve(), content)
        return
    with open_output(path) as output:
        output.write(content)


def is_regular(path: Path) -> bool:
    """Whether it is, or would become, a file of its own: no pipe, device or descriptor that is open already."""
    return open_descriptor(path) is None and (not path.exists() or path.is_file())


def open_descriptor(path: Path) -> int | None:
    """The open descriptor that a name such as `/dev/stdout` or `/dev/fd/3` stands for."""
    name = str(path.absolute())
    found = DESCRIPTOR.fullmatch(name)
    return STREAMS.get(name, int(found[1]) if found else None)


def partial_path(path: Path) -> Path:
    """Where a growing output keeps what it has while there is more to come."""
    return path.with_name(f"{path.name}.part")


class OutputFile:
    """A file written piece by piece; it has its name once it is whole.

    Until then, and for good if the program ends before, the pieces stand in `place`, beside it. What is no file of
    its own (see `is_regular`) is written straight into.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.regular = is_regular(path)
        self.target = path.resolve() if self.regular else path
        self.partial = partial_path(self.target) if self.regular else path
        self.started = False
        """Whether `place` is this output's; before it may be that of an earlier run."""
        self._stream: FileIO | None = None
        self._written = 0

    def write(self, content: bytes) -> None:
        """The next piece. Raises: DiskError."""
        with _as_disk_error(self.path, self._written + len(content)):
            self._stream = self._stream or self._open()
            rest = memoryview(content)
            while rest:
                rest = rest[self._stream.write(rest) :]
            self._written += len(content)

    def finish(self) -> None:
        """It is whole, also without any piece. Raises: DiskError."""
        self.write(b"")
        if self.regular:
            with _as_disk_error(self.path, self._written):
                _sync(self.partial, OPS)
                OPS.replace(self.partial, self.target)
                sync_directory(self.target.parent)

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()

    def _open(self) -> FileIO:
        self.started = True
        descriptor = open_descriptor(self.path)
        if descriptor is not None:  # the name would open a file anew, and from its beginning
            return FileIO(os.dup(descriptor), "w")
        if not self.regular:
            return FileIO(self.path, "w")
        self.target.parent.mkdir(parents=True, exist_ok=True)
        self.partial.unlink(missing_ok=True)  # it may be a link to elsewhere
        stream = FileIO(self.partial, "x")
        _copy_mode(self.partial, self.target)
        return stream


@contextlib.contextmanager
def open_output(path: Path) -> Iterator[OutputFile]:
    """A `OutputFile`, finished unless something fails. Raises: DiskError; an older file is then intact."""
    output = OutputFile(path)
    try:
        yield output
        output.finish()
    finally:
        output.close()


def write_text(path: Path, text: str, ops: FileOps = OPS) -> None:
    """`write_bytes` of UTF-8 text, in which a path may hold any bytes."""
    write_bytes(path, text.encode("utf-8", errors="surrogateescape"), ops)


def write_json(path: Path, value: Any, ops: FileOps = OPS) -> None:
    """`write_bytes` of indented JSON."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n", ops)


@contextlib.contextmanager
def write_directory(path: Path, ops: FileOps = OPS) -> Iterator[Callable[[str, bytes], None]]:
    """Fill a directory under a temporary name, then give it its name; all of it appears or nothing.

    Yields:
        write(name, content): adds one synced file.

    Raises:
        DiskError: the file system refused; there is no directory of that name and no leftover.
    """
    with _temporary_directory(path, ops) as temporary:

        def write(name: str, content: bytes) -> None:
            with _as_disk_error(path / name, len(content)):
                _write_synced(temporary / name, content, ops)

        yield write


@contextlib.contextmanager
def staged_directory(path: Path, ops: FileOps = OPS) -> Iterator[Path]:
    """`write_directory` for files that a library writes itself.

    Yields:
        The directory under its temporary name; the plain files in it are synced before it gets its own.

    Raises:
        DiskError: the file system refused; there is no directory of that name and no leftover.
    """
    with _temporary_directory(path, ops) as temporary:
        yield temporary
        for file in sorted(temporary.iterdir()):
            _sync(file, ops)


@contextlib.contextmanager
def _temporary_directory(path: Path, ops: FileOps) -> Iterator[Path]:
    """A directory under a temporary name, which becomes `path` at the end or is deleted."""
    temporary = path.with_name(f".{path.name}{TEMPORARY}")
    with _as_disk_error(path, 0):
        try:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            yield temporary
            sync_directory(temporary, ops)
            ops.replace(temporary, path)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        sync_directory(path.parent, ops)


def set_symlink(link: Path, target: str, ops: FileOps = OPS) -> None:
    """Make `link` a name of `target`, a neighbour in the same directory, all at once."""
    temporary = link.with_name(f".{link.name}{TEMPORARY}")
    with _as_disk_error(link, 0):
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(target)
        ops.replace(temporary, link)
        sync_directory(link.parent, ops)


def make_directory(path: Path) -> None:
    """Create a directory and its parents. Raises: DiskError."""
    with _as_disk_error(path, 0):
        path.mkdir(parents=True, exist_ok=True)


def remove_temporary_files(directory: Path) -> None:
    """Delete what a killed process left unfinished in a directory of ours."""
    for path in directory.glob(f".*{TEMPORARY}") if directory.is_dir() else ():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def sync_directory(path: Path, ops: FileOps = OPS) -> None:
    """Make renames in this directory last."""
    _sync(path, ops)


def sha256(content: bytes | memoryview) -> str:
    """Hexadecimal SHA-256."""
    return hashlib.sha256(content).hexdigest()


def sha256_file(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's content."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sync(path: Path, ops: FileOps) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        ops.fsync(descriptor)
    finally:
        os.close(descriptor)


def _copy_mode(new: Path, old: Path) -> None:
    """Who may read a file is for its owner to say, and stays as it is when the file is replaced."""
    if old.exists() and (mode := old.stat().st_mode & 0o777) != new.stat().st_mode & 0o777:
        new.chmod(mode)


def _write_synced(path: Path, content: bytes, ops: FileOps) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
    descriptor = os.open(path, flags, 0o666)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[ops.write(descriptor, rest) :]
        ops.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _as_disk_error(path: Path, size: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        amount = f" ({size:,} bytes)" if size else ""
        advice = {
            errno.ENOSPC: "free some space, or write to another disk",
            errno.EACCES: "check the permissions of the directory",
            errno.EROFS: "this file system is read-only: choose another directory",
        }.get(error.errno or 0, "nothing that was saved before has been changed")
        raise DiskError(f"{path}{amount}: cannot be written: {error.strerror}", hint=advice) from error
