"""Shared fixtures and helpers: a toy language that is learned in seconds, the command line, fault injection."""

from __future__ import annotations

import errno
import functools
import importlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from transformer_cli.durable import FileOps

ROOT = Path(__file__).resolve().parents[1]

# A background shell (`nohup`, `&` in a script) ignores these signals, and subprocesses of the tests would inherit
# that. Handlers are not inherited.
for _number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, lambda *_: None)

SUBJECTS = {"the cat": "die Katze", "the dog": "der Hund", "a bird": "ein Vogel", "my aunt": "meine Tante"}
VERBS = {"sees": "sieht", "hears": "hört", "finds": "findet", "loves": "liebt"}
OBJECTS = {"the house": "das Haus", "the book": "das Buch", "the child": "das Kind", "the horse": "das Pferd"}
TIMES = {"today": "heute", "now": "jetzt", "often": "oft"}


def toy_pairs(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """Sentence pairs of a toy language with one reordering: the adverb of time is first in German."""
    rng = random.Random(seed)
    pairs = []
    for _ in range(count):
        s, v, o, t = (rng.choice(list(table)) for table in (SUBJECTS, VERBS, OBJECTS, TIMES))
        german = f"{TIMES[t]} {VERBS[v]} {SUBJECTS[s]} {OBJECTS[o]}."
        pairs.append((f"{s.capitalize()} {v} {o} {t}.", german[0].upper() + german[1:]))
    return pairs


def load_script(name: str) -> ModuleType:
    """Import a file of `scripts/` as a module, with `scripts/` on the import path as when it is run."""
    folder = str(ROOT / "scripts")
    sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(folder)


def write_pairs(directory: Path, name: str, pairs: list[tuple[str, str]]) -> tuple[Path, Path]:
    """Write `name.en` and `name.de` to the directory."""
    src, tgt = directory / f"{name}.en", directory / f"{name}.de"
    src.write_text("".join(s + "\n" for s, _ in pairs), encoding="utf-8")
    tgt.write_text("".join(t + "\n" for _, t in pairs), encoding="utf-8")
    return src, tgt


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run slow tests first, so that no worker starts one when the others have finished."""
    items.sort(key=lambda item: "slow" not in item.keywords)


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with training, validation and test files of the toy language."""
    directory = tmp_path_factory.mktemp("toy")
    write_pairs(directory, "train", toy_pairs(300, seed=1))
    write_pairs(directory, "valid", toy_pairs(20, seed=2))
    write_pairs(directory, "test", toy_pairs(20, seed=3))
    return directory


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


TINY_RUN = [
    "tokenizer.vocab_size=100",
    "tokenizer.byte_fallback=false",
    "model.d_model=32",
    "model.num_heads=4",
    "model.d_ff=64",
    "model.encoder_layers=1",
    "model.decoder_layers=1",
    "model.dropout=0.1",
    "data.batch_tokens=256",
    "optim.lr=5e-3",
    "optim.schedule=linear",
    "optim.warmup_steps=10",
    "training.log_every=5",
]
"""Settings for a run that takes a few seconds."""


CLI = [sys.executable, "-m", "transformer_cli"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def cli(*arguments: object, stdin: bytes = b"", **env: str) -> subprocess.CompletedProcess[bytes]:
    """Run a command in a separate process: a fork of the zygote, or a new interpreter if `env` is given."""
    words = list(map(str, arguments))
    if env:
        return subprocess.run(
            [*CLI, *words], input=stdin, capture_output=True, env={**ENVIRONMENT, **env}, timeout=300
        )
    with tempfile.TemporaryDirectory() as directory:
        files = [Path(directory) / name for name in ("stdin", "stdout", "stderr")]
        for file, content in zip(files, (stdin, b"", b""), strict=True):
            file.write_bytes(content)
        zygote = _zygote()
        assert zygote.stdin and zygote.stdout
        zygote.stdin.write(json.dumps({"arguments": words, "files": list(map(str, files))}) + "\n")
        zygote.stdin.flush()
        code = int(zygote.stdout.readline())
        return subprocess.CompletedProcess(words, code, files[1].read_bytes(), files[2].read_bytes())


@functools.cache
def _zygote() -> subprocess.Popen[str]:
    """The process that `cli` forks (see `zygote.py`); it exits when this process closes its stdin."""
    return subprocess.Popen(
        [sys.executable, str(ROOT / "tests/zygote.py")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ENVIRONMENT, text=True,
    )  # fmt: skip


class Failing:
    """File operations of which the N-th (from 1) fails with errno `code`; `log` has the names of all calls."""

    def __init__(self, n: int, code: int = errno.ENOSPC) -> None:
        self.left, self.code = n, code
        self.log: list[str] = []

    def ops(self) -> FileOps:
        return FileOps(
            self._wrap("write", os.write), self._wrap("fsync", os.fsync), self._wrap("replace", os.replace)
        )

    def _wrap(self, name: str, operation: Any) -> Any:
        def call(*args: Any) -> Any:
            self.left -= 1
            self.log.append(name)
            if self.left == 0:
                raise OSError(self.code, os.strerror(self.code))
            return operation(*args)

        return call


@pytest.fixture(scope="session")
def toy_run(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run that was trained on the toy language for a few seconds. Tests must not modify it."""
    from transformer_cli.experiment.training import TrainRequest, run_training
    from transformer_cli.training.loop import StopRequest

    run = tmp_path_factory.mktemp("toy_run") / "run"
    settings = [*TINY_RUN, "training.max_steps=500", "training.validate_every=250", "training.save_every=250"]
    sides = [[toy / f"train.{side}"] for side in ("en", "de")]
    request = TrainRequest(run, *sides, toy / "valid.en", toy / "valid.de", settings=settings, device="cpu")
    run_training(request, lambda message: None, StopRequest())
    yield run
    assert not (run / "engines").exists(), "a test exported the shared run: use toy_run_copy"


@pytest.fixture
def toy_run_copy(toy_run: Path, tmp_path: Path) -> Path:
    """A copy of `toy_run` that the test may modify."""
    shutil.copytree(toy_run, tmp_path / "run", symlinks=True)
    return tmp_path / "run"


@pytest.fixture(scope="session")
def server(toy_run: Path) -> Iterator[Any]:
    """A `running_server.RunningServer` of the toy run, for tests that leave it running."""
    from running_server import RunningServer

    running = RunningServer(f"en-de={toy_run}")
    yield running
    running.close()


def tree(directory: Path) -> dict[str, bytes]:
    """Relative path -> content of every file below `directory`."""
    return {str(p.relative_to(directory)): p.read_bytes() for p in sorted(directory.rglob("*")) if p.is_file()}
