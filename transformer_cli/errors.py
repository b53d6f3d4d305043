"""Exceptions for everything that the user can correct.

A `UserError` states what is wrong, where, and what to do about it. The command line prints it as one
message and exits with its exit code. Any other exception that escapes is a bug in this program.
"""

from __future__ import annotations


class UserError(Exception):
    """A failure that the user can understand and correct (exit code 1)."""

    exit_code = 1

    def __init__(self, what: str, *, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.what}\n  {self.hint}" if self.hint else self.what


class ConfigError(UserError):
    """Invalid option, or unknown or contradictory configuration key (exit code 2)."""

    exit_code = 2


class DataError(UserError):
    """Missing, unreadable or misaligned text (exit code 3)."""

    exit_code = 3


class CheckpointError(UserError):
    """A run directory, bundle or checkpoint that is missing, damaged or incompatible (exit code 4)."""

    exit_code = 4


class DiskError(UserError):
    """A failed write: disk full, read-only file system, no permission (exit code 5)."""

    exit_code = 5
