"""The long trials, briefly: the promises of docs/reliability.md."""

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
def test_nothing_is_lost(trial: str, count: int) -> None:
    command = [sys.executable, str(ROOT / "scripts/soak.py"), trial, "--count", str(count), "--seed", "3"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-2000:]
    assert f"{count} trials, 0 failures" in done.stdout
