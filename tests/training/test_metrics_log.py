"""The metrics log: write errors and resuming."""

from __future__ import annotations

import errno
import io
import json
from pathlib import Path

import pytest

from transformer_cli.errors import DiskError
from transformer_cli.training.metrics_log import MetricsLog


class FullDisk(io.StringIO):
    name = "metrics.jsonl"

    def flush(self) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_reported_with_the_file_name() -> None:
    log = MetricsLog(None, 0, 0)
    log._stream = FullDisk()
    with pytest.raises(DiskError, match=r"metrics.jsonl: cannot be written: No space left"):
        log.write("train", step=1)


def test_a_validation_after_the_checkpoint_is_dropped(tmp_path: Path) -> None:
    """After a crash between the log line and the save, the validation runs again."""
    path = tmp_path / "metrics.jsonl"
    for validated in (4, 2):
        log = MetricsLog(path, 0, 0)
        for step in (2, 4):
            log.write("train", step=step)
            log.write("validation", step=step)
        log.close()
        MetricsLog(path, 4, validated).close()
        lines = [(line["kind"], line["step"]) for line in map(json.loads, path.read_text().splitlines())]
        expected = [("train", 2), ("validation", 2), ("train", 4), ("validation", 4)]
        assert lines == expected[: 4 if validated == 4 else 3]
