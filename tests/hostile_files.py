"""What somebody can put in the place of a file of a model: each function makes one thing at a path."""

from __future__ import annotations

import os
from pathlib import Path


def fifo(path: Path, outside: Path) -> None:
    os.mkfifo(path)


def endless(path: Path, outside: Path) -> None:
    path.symlink_to("/dev/zero")


def link(path: Path, outside: Path) -> None:
    path.symlink_to(outside)


def directory(path: Path, outside: Path) -> None:
    path.mkdir()
