"""A run written by an earlier version: it loads, translates as it did, and goes on. One for each format.

Made by `transformer-cli train` with the settings in its config.yaml on the texts beside it; never made anew.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from conftest import ROOT, cli

from transformer_cli.artifacts.loading import load_model
from transformer_cli.data.text import read_lines
from transformer_cli.training.checkpoint import FORMAT, CheckpointStore, verify_checkpoint

GOLDEN = ROOT / "tests/golden"
every_format = pytest.mark.parametrize(
    "place", [GOLDEN / f"format_{n + 1}" for n in range(FORMAT)], ids=lambda p: p.name
)


@every_format
def test_it_translates_as_it_did(place: Path) -> None:
    translator = load_model(place / "run", torch.device("cpu")).translator()
    sources, expected = read_lines(place / "source.txt")[0], read_lines(place / "expected.txt")[0]
    assert [t.text for t in translator.translate(sources)] == expected
    assert sum(p.stat().st_size for p in place.rglob("*") if p.is_file() and not p.is_symlink()) < 300_000


@every_format
def test_it_goes_on(place: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(place / "run", run, symlinks=True)
    store = CheckpointStore(run / "checkpoints", {})
    newest, problems = store.newest_intact()
    assert newest is not None and not problems
    step = int(newest.name[5:])
    texts = [x for side in ("src", "tgt") for x in (f"--{side}", place / f"train.{side}")]
    texts += [x for side in ("src", "tgt") for x in (f"--valid-{side}", place / f"valid.{side}")]
    done = cli("train", "--run", run, *texts, "--max-steps", step + 2)
    assert done.returncode == 0 and f"resuming from {newest.name}".encode() in done.stderr
    verify_checkpoint(run / "checkpoints" / f"step_{step + 2:09d}")
