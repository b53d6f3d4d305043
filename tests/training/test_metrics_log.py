"""The log of a run says what could not be written."""

from __future__ import annotations

import errno
import io

import pytest

from transformer_cli.errors import DiskError
from transformer_cli.training.metrics import MetricsLog


class FullDisk(io.StringIO):
    name = "metrics.jsonl"

    def flush(self) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_under_the_log_is_named() -> None:
    log = MetricsLog(None, 0)
    log._stream = FullDisk()
    with pytest.raises(DiskError, match=r"metrics.jsonl: cannot be written: No space left"):
        log.write("train", step=1)
