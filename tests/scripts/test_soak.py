"""Short versions of the soak trials: the guarantees of docs/reliability.md."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("trial", "count"), [("kills", 100), ("signals", 30), ("text", 10_000), ("files", 550), ("faults", 2)]
)
def test_trial_reports_no_failures(trial: str, count: int) -> None:
    command = [sys.executable, str(ROOT / "scripts/soak.py"), trial, "--count", str(count), "--seed", "3"]
    process = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert process.returncode == 0, process.stderr[-2000:]
    assert f"{count} trials, 0 failures" in process.stdout
