"""Runs of earlier versions, one for each checkpoint format: they load, give the same translations, and resume.

Each was written by `transformer-cli train` with the settings in its config.yaml on the texts next to it. They are
never regenerated.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from conftest import ROOT, cli

from transformer_cli.artifacts.loading import load_model
from transformer_cli.data.text import read_lines
from transformer_cli.manifest import FORMAT, verify_checkpoint
from transformer_cli.training.checkpoint import CheckpointStore

GOLDEN = ROOT / "tests/golden"
every_format = pytest.mark.parametrize(
    "golden", [GOLDEN / f"format_{n + 1}" for n in range(FORMAT)], ids=lambda p: p.name
)


@every_format
def test_old_runs_give_the_same_translations(golden: Path) -> None:
    translator = load_model(golden / "run", torch.device("cpu")).translator()
    sources, expected = read_lines(golden / "source.txt")[0], read_lines(golden / "expected.txt")[0]
    assert [t.text for t in translator.translate(sources)] == expected
    assert sum(p.stat().st_size for p in golden.rglob("*") if p.is_file() and not p.is_symlink()) < 300_000


@every_format
def test_old_runs_resume(golden: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(golden / "run", run, symlinks=True)
    store = CheckpointStore(run / "checkpoints", {})
    newest, problems = store.newest_intact()
    assert newest is not None and not problems
    step = int(newest.name[5:])
    texts = [x for side in ("src", "tgt") for x in (f"--{side}", golden / f"train.{side}")]
    texts += [x for side in ("src", "tgt") for x in (f"--valid-{side}", golden / f"valid.{side}")]
    done = cli("train", "--run", run, *texts, "--max-steps", step + 2)
    assert done.returncode == 0 and f"resuming from {newest.name}".encode() in done.stderr
    verify_checkpoint(run / "checkpoints" / f"step_{step + 2:09d}")
