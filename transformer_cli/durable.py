"""Durable, atomic file writes.

A file is written under a temporary name in its target directory, synced and renamed, and the directory is
synced. After a crash at any point the file has its old content or its new content, never a mixture. The
file operations are passed as a value (`FileOps`), so that tests can make the N-th operation fail.
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

from transformer_cli.errors import ConfigError, DiskError

TEMPORARY = ".tmp"
"""Suffix of unfinished files. Their names also start with a dot, so that a user's `notes.tmp` is never removed."""

STREAMS = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}
DESCRIPTOR = re.compile(r"(?:/dev|/proc/self)/fd/(\d+)")
"""Paths that name a descriptor that is already open."""


@dataclass(frozen=True)
class FileOps:
    """The file operations that durability depends on."""

    write: Callable[[int, memoryview], int] = os.write
    fsync: Callable[[int], None] = os.fsync
    replace: Callable[[Path, Path], None] = os.replace


OPS = FileOps()


def write_bytes(path: Path, content: bytes, ops: FileOps = OPS) -> None:
    """Replace the content of a file durably and atomically.

    Raises:
        DiskError: the write failed; the old content is intact.
    """
    # The process id keeps concurrent writers of the same file apart.
    temporary = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY}")
    with as_disk_error(path, len(content)):
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
    """Replace a file atomically; write directly to anything that is not a regular file, such as a pipe.

    Creates missing directories. Raises: DiskError.
    """
    if is_regular(path):
        make_directory(path.resolve().parent)
        write_bytes(path.resolve(), content)
        return
    with open_output(path) as output:
        output.write(content)


def is_regular(path: Path) -> bool:
    """Whether the path is, or would become, a regular file: not a pipe, device or open descriptor."""
    return open_descriptor(path) is None and (not path.exists() or path.is_file())


def open_descriptor(path: Path) -> int | None:
    """The open descriptor that a path such as `/dev/stdout` or `/dev/fd/3` refers to, or None."""
    name = str(path.absolute())
    match = DESCRIPTOR.fullmatch(name)
    return STREAMS.get(name, int(match[1]) if match else None)


def partial_path(path: Path) -> Path:
    """The file that holds an output while it is incomplete."""
    return path.with_name(f"{path.name}.part")


def check_writable(path: Path | None, *others: Path | None, create_parents: bool = False) -> None:
    """Check that an output can be written, before the work that produces it.

    Args:
        path: the output. None and existing pipes, devices and descriptors are accepted without a check.
        others: files that the same command reads or writes.
        create_parents: the command creates missing parent directories.

    Raises:
        ConfigError: `path`, or its partial file, is one of `others`.
        DiskError: `path` is a directory, or its directory is missing or not writable.
    """
    if path is None or (path.exists() and not path.is_dir() and not is_regular(path)):
        return
    target = path.resolve()
    for other in others:
        if other is not None and any(_is_same_file(file, other) for file in (target, partial_path(target))):
            raise ConfigError(f"{path}: is also read or written by this command", hint="choose another output")
    if path.is_dir():
        raise DiskError(f"{path}: cannot be written: is a directory")
    parent = target.parent
    while create_parents and not parent.exists():
        parent = parent.parent
    if not (parent.is_dir() and os.access(parent, os.W_OK)):
        raise DiskError(f"{path}: cannot be written: no such directory, or no permission")


class OutputFile:
    """A file that is written incrementally and gets its name when it is complete.

    Until then the content is in `partial`, next to the target; it stays there if the program stops early.
    Anything that is not a regular file (see `is_regular`) is written to directly.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.regular = is_regular(path)
        self.target = path.resolve() if self.regular else path
        self.partial = partial_path(self.target) if self.regular else path
        self.started = False
        """Whether `partial` belongs to this output; before the first write it may be left from an earlier run."""
        self._stream: FileIO | None = None
        self._written = 0

    def write(self, content: bytes) -> None:
        """Append `content`. Raises: DiskError."""
        with as_disk_error(self.path, self._written + len(content)):
            self._stream = self._stream or self._open()
            rest = memoryview(content)
            while rest:
                rest = rest[self._stream.write(rest) :]
            self._written += len(content)

    def finish(self) -> None:
        """Complete the file, which may be empty, and give it its name. Raises: DiskError."""
        self.write(b"")
        if self.regular:
            with as_disk_error(self.path, self._written):
                _sync(self.partial, OPS)
                OPS.replace(self.partial, self.target)
                sync_directory(self.target.parent)

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()

    def _open(self) -> FileIO:
        self.started = True
        descriptor = open_descriptor(self.path)
        if descriptor is not None:  # opening the path again would write from the start of the file
            return FileIO(os.dup(descriptor), "w")
        if not self.regular:
            return FileIO(self.path, "w")
        self.target.parent.mkdir(parents=True, exist_ok=True)
        self.partial.unlink(missing_ok=True)  # it may be a symlink to another directory
        stream = FileIO(self.partial, "x")
        _copy_mode(self.partial, self.target)
        return stream


@contextlib.contextmanager
def open_output(path: Path) -> Iterator[OutputFile]:
    """Open an `OutputFile` and finish it unless an exception is raised. Raises: DiskError; an old file is kept."""
    output = OutputFile(path)
    try:
        yield output
        output.finish()
    finally:
        output.close()


def write_text(path: Path, text: str, ops: FileOps = OPS) -> None:
    """`write_bytes` for UTF-8 text; surrogate escapes (paths that are not UTF-8) become their bytes."""
    write_bytes(path, text.encode("utf-8", errors="surrogateescape"), ops)


def write_json(path: Path, value: Any, ops: FileOps = OPS) -> None:
    """`write_bytes` for indented JSON."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n", ops)


@contextlib.contextmanager
def write_directory(path: Path, ops: FileOps = OPS) -> Iterator[Callable[[str, bytes], None]]:
    """Create a directory with its files atomically: fill it under a temporary name, then rename it.

    Yields:
        write(name, content): adds one synced file.

    Raises:
        DiskError: a write failed; neither the directory nor a temporary one is left.
    """
    with _temporary_directory(path, ops) as temporary:

        def write(name: str, content: bytes) -> None:
            with as_disk_error(path / name, len(content)):
                _write_synced(temporary / name, content, ops)

        yield write


@contextlib.contextmanager
def staged_directory(path: Path, ops: FileOps = OPS) -> Iterator[Path]:
    """`write_directory` for files that a library writes itself.

    Yields:
        The directory under its temporary name. The regular files in it are synced before the rename.
    """
    with _temporary_directory(path, ops) as temporary:
        yield temporary
        for file in sorted(temporary.iterdir()):
            _sync(file, ops)


@contextlib.contextmanager
def _temporary_directory(path: Path, ops: FileOps) -> Iterator[Path]:
    """Create a temporary directory; rename it to `path` on success, delete it on any exception."""
    temporary = path.with_name(f".{path.name}{TEMPORARY}")
    with as_disk_error(path, 0):
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
    """Atomically point the symlink `link` at `target`, a name in the same directory. Raises: DiskError."""
    temporary = link.with_name(f".{link.name}{TEMPORARY}")
    with as_disk_error(link, 0):
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(target)
        ops.replace(temporary, link)
        sync_directory(link.parent, ops)


def make_directory(path: Path) -> None:
    """Create a directory and its parents. Raises: DiskError."""
    with as_disk_error(path, 0):
        path.mkdir(parents=True, exist_ok=True)


def remove_temporary_files(directory: Path) -> None:
    """Delete the unfinished files that a killed process left in a directory."""
    for path in directory.glob(f".*{TEMPORARY}") if directory.is_dir() else ():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def sync_directory(path: Path, ops: FileOps = OPS) -> None:
    """Make renames in this directory durable."""
    _sync(path, ops)


def sha256(content: bytes | memoryview) -> str:
    """Hexadecimal SHA-256 digest."""
    return hashlib.sha256(content).hexdigest()


def sha256_file(path: Path) -> str:
    """Hexadecimal SHA-256 digest of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _is_same_file(a: Path, b: Path) -> bool:
    return a.samefile(b) if a.exists() and b.exists() else a.resolve() == b.resolve()


def _sync(path: Path, ops: FileOps) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        ops.fsync(descriptor)
    finally:
        os.close(descriptor)


def _copy_mode(new: Path, old: Path) -> None:
    """Give `new` the permissions of the file that it replaces."""
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
def as_disk_error(path: Path, size: int) -> Iterator[None]:
    """Turn an OSError of writing `size` bytes to `path` into a DiskError."""
    try:
        yield
    except OSError as error:
        amount = f" ({size:,} bytes)" if size else ""
        hint = {
            errno.ENOSPC: "free some space, or write to another disk",
            errno.EACCES: "check the permissions of the directory",
            errno.EROFS: "this file system is read-only: choose another directory",
        }.get(error.errno or 0, "files that were saved before are unchanged")
        raise DiskError(f"{path}{amount}: cannot be written: {error.strerror}", hint=hint) from error
