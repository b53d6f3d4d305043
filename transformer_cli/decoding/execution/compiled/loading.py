"""Loads the compiled functions, from a cache on disk where they have been compiled before.

numba's cache consists of pickles, which run code when they are read. It is therefore stored in a
directory that only this user can write to.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import os
import platform
import stat
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from transformer_cli import token_ids
from transformer_cli.decoding.search import hypothesis, logits

SEARCH = f"{__package__}.search"
"""The module that imports all compiled functions."""
_lock = threading.Lock()


def load_search(directory: Path) -> ModuleType:
    """Import the module `search`, whose functions are compiled when they are first called.

    `directory`: the cache; see `cache_directory`. Ignored if numba's own setting NUMBA_CACHE_DIR names another.
    """
    import numba

    config: Any = numba.config
    with _lock:
        previous = config.CACHE_DIR
        config.CACHE_DIR = previous or str(directory)  # read when the functions are defined
        try:
            return importlib.import_module(SEARCH)
        finally:
            config.CACHE_DIR = previous


def cache_directory() -> Path | None:
    """A directory for the compiled functions of this version; created if it is missing.

    The user's cache directory, or else one below the directory of temporary files. None if neither
    can be written to by this user alone.
    """
    for parent in _parents():
        directory = parent / f"compiled-{_version()}"
        if _make_private(parent) and _make_private(directory):
            return directory
    return None


def is_compiled(directory: Path, name: str) -> bool:
    """Whether the function `name` has been compiled for this processor before."""
    return _marker(directory, name).exists()


def mark_compiled(directory: Path, name: str) -> None:
    """Record that the function `name` is in the cache."""
    with contextlib.suppress(OSError):  # a full disk: the function is compiled again
        _marker(directory, name).touch()


def _parents() -> Iterator[Path]:
    caches = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    with contextlib.suppress(RuntimeError):  # no home directory
        caches = caches.expanduser()
        if caches.is_absolute():
            yield caches / "transformer-cli"
    yield Path(tempfile.gettempdir()) / f"transformer-cli-{os.geteuid()}"


def _make_private(directory: Path) -> bool:
    """Create a directory that only this user can write to; return whether it is one."""
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        directory.mkdir(mode=0o700, exist_ok=True)
        status = directory.lstat()
    except OSError:
        return False
    is_private = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o022
    return is_private and os.access(directory, os.W_OK | os.X_OK)


def _version() -> str:
    """A hash of the source of the compiled functions: numba does not notice changes in what a function calls."""
    digest = hashlib.sha256(sys.version.encode())
    constants = (Path(str(module.__file__)) for module in (hypothesis, logits, token_ids))
    for path in (*sorted(Path(__file__).parent.glob("*.py")), *constants):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _marker(directory: Path, name: str) -> Path:
    """The file that records a compiled function. A home directory may be shared by machines that differ."""
    description = platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").split("\n")
        description += "".join(line for line in lines[:64] if line.startswith(("model name", "flags")))
    except OSError:
        description += platform.processor()
    return directory / f"{name}-{hashlib.sha256(description.encode()).hexdigest()[:16]}"
