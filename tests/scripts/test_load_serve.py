"""The load script counts and compares answers; the long runs are in docs/log.md."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from conftest import ENVIRONMENT, ROOT, load_script


def test_identity_in_small(toy_run: Path, toy: Path) -> None:
    command = [
        sys.executable,
        ROOT / "scripts/load_serve.py",
        "identity",
        toy_run,
        toy / "test.en",
        "--count",
        "80",
    ]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "80 answers" in done.stdout and "different from the command's translation: 0" in done.stdout


def test_the_checker_finds_differences() -> None:
    checker = load_script("load_serve").Checker(["a", "b"])
    for number, status, text in ((0, 200, "a"), (1, 200, "x"), (2, 200, "a"), (3, 503, "")):
        checker(number, status, text)
    assert checker.different == [1] and checker.statuses == {200: 3, 503: 1}
