"""One exception tree for everything that a user can put right.

A `UserError` says what is wrong, where, and what to do about it. The command line prints it as one
message and ends with its exit code; anything else that escapes is a defect of ours.
"""

from __future__ import annotations


class UserError(Exception):
    """A failure that the user can understand and act on (exit code 1)."""

    exit_code = 1

    def __init__(self, what: str, *, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.what}\n  {self.hint}" if self.hint else self.what


class ConfigError(UserError):
    """Wrong option, unknown or contradictory configuration key (exit code 2)."""

    exit_code = 2


class DataError(UserError):
    """Missing, unreadable or misaligned text (exit code 3)."""

    exit_code = 3


class CheckpointError(UserError):
    """A run directory or checkpoint that is missing, foreign, damaged or does not fit (exit 4)."""

    exit_code = 4


class DiskError(UserError):
    """The file system refused: full, read-only, no permission (exit code 5)."""

    exit_code = 5
