"""`train` is killed while it encodes its corpus: nothing is lost, and no half of a store is left."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest import CLI, ENVIRONMENT, TINY_RUN, cli, toy_pairs, write_pairs

PAIRS = 40_000
"""Several parts of encoding, so that the kill falls between the first and the last."""


def arguments(directory: Path, run: str) -> list[str]:
    names = {"src": "train.en", "tgt": "train.de", "valid-src": "valid.en", "valid-tgt": "valid.de", "run": run}
    files = [word for option, name in names.items() for word in (f"--{option}", str(directory / name))]
    short = ["training.max_steps=1", "tokenizer.max_lines=2000"]
    return ["train", *files, *(word for setting in (*TINY_RUN, *short) for word in ("--set", setting))]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    write_pairs(tmp_path, "train", toy_pairs(PAIRS))
    write_pairs(tmp_path, "valid", toy_pairs(2))
    return tmp_path


def wait_for(pattern: str, directory: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while not any(path.stat().st_size > 4096 for path in directory.glob(pattern)):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.001)


@pytest.mark.slow
def test_sigkill_while_encoding_loses_nothing(corpus: Path) -> None:
    killed = subprocess.Popen([*CLI, *arguments(corpus, "killed")], env=ENVIRONMENT, stderr=subprocess.PIPE)
    data = corpus / "killed" / "data"
    wait_for(".train.src.tokens.npy.*.tmp", data, killed)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert not list(data.glob("train.*")), "part of a store has its name"
    outputs = []
    for run in ("killed", "whole"):
        done = cli(*arguments(corpus, run))
        assert done.returncode == 0
        outputs.append(done.stderr.decode())
    assert "training the tokenizer" not in outputs[0] and "training the tokenizer" in outputs[1]
    whole = corpus / "whole" / "data"
    assert sorted(path.name for path in data.iterdir()) == sorted(path.name for path in whole.iterdir())
    for path in whole.glob("*.npy"):
        assert path.read_bytes() == (data / path.name).read_bytes()
