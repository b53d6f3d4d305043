"""The README's commands, word for word."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, toy_pairs, write_pairs

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)


def test_two_commands_are_the_first_screen() -> None:
    commands = [line.split("#")[0].strip() for line in BLOCKS[0].strip().split("\n")]
    assert commands == ["scripts/quickstart", "scripts/check"]
    assert README.index(BLOCKS[0]) < 1500
    for command in commands:
        assert os.access(ROOT / command, os.X_OK)
    assert "scripts/check" in (ROOT / ".ci/run").read_text()


def test_own_corpus_in_three_commands(tmp_path: Path) -> None:
    write_pairs(tmp_path, "my", toy_pairs(300, seed=1))
    write_pairs(tmp_path, "test", toy_pairs(10, seed=2))
    shutil.copy(tmp_path / "test.en", tmp_path / "new.en")
    train, translate, evaluate = BLOCKS[1].strip().split("\n")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    # The recipe would train for minutes; the words stay, the budget shrinks.
    for command in (f"{train} --max-steps 30", translate, evaluate):
        done = subprocess.run(
            ["bash", "-euc", command], cwd=tmp_path, capture_output=True, env={**os.environ, "PATH": path}
        )
        assert done.returncode == 0, done.stderr.decode()
    assert (tmp_path / "new.de").read_text().count("\n") == 10
    assert b"BLEU" in done.stdout and b"tok:13a" in done.stdout


@pytest.mark.slow
def test_quickstart_reaches_its_bound(tmp_path: Path) -> None:
    """The real command, from another folder; then once more. On a busy machine it may take its time here."""
    command = [str(ROOT / "scripts/quickstart"), str(tmp_path / "run"), "--max-minutes", "40"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=3000)
    said = done.stdout.decode()
    assert done.returncode == 0, done.stderr.decode()
    bleu = float(re.findall(r"^BLEU ([\d.]+)", said, re.MULTILINE)[0])
    assert bleu >= 90, said
    assert "With your own text" in said
    again = subprocess.run(command, cwd="/", capture_output=True, timeout=300)
    assert again.returncode == 0 and b"resuming from" in again.stderr
    assert f"BLEU {bleu:.2f}" in again.stdout.decode()
