from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from transformer_cli.artifacts.loading import load_model
from transformer_cli.errors import CheckpointError
from transformer_cli.experiment.summary import MAX_WIDTH, sparkline, summarize_run
from transformer_cli.runtime import select_device


def test_summary_of_a_run(toy_run: Path) -> None:
    facts = dict(summarize_run(toy_run, "best"))
    parameters = sum(p.numel() for p in load_model(toy_run, select_device("cpu")).model.parameters())
    assert facts["parameters"].startswith(f"{parameters:,}: ") and "encoder" in facts["parameters"]
    assert "step " in facts["best"] and "BLEU" in facts["best"] and facts["training loss"][0] == "█"
    assert facts["model"] == "transformer -> transformer, d_model 32, 1 + 1 layers"
    assert "minutes" in facts["time"] and "MB" in facts["size"]


def test_a_run_without_metrics_has_a_summary_too(toy_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(toy_run, tmp_path / "run", symlinks=True))
    (run / "metrics.jsonl").write_text('{"kind": "train", "step": 1, "loss": "x", "seconds": null}\nnonsense\n')
    facts = dict(summarize_run(run, "last"))
    assert "training loss" not in facts and "parameters" in facts
    with pytest.raises(CheckpointError, match="no checkpoint 'other'"):
        summarize_run(run, "other")


def test_it_needs_no_torch(toy_run: Path) -> None:
    code = (
        f"import sys; sys.argv = ['t', 'inspect', {str(toy_run)!r}]\n"
        "import transformer_cli.cli.app as app\n"
        "try: app.main()\nexcept SystemExit as e: assert not e.code\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("run ") and "parameters " in done.stdout


def test_sparkline() -> None:
    assert sparkline([1, 2, 3, 4, 5, 6, 7, 8]) == "▁▂▃▄▅▆▇█"
    assert sparkline([3, 3]) == "▁▁" and sparkline([5]) == "▁"
    assert len(sparkline(list(range(1000)))) == MAX_WIDTH and sparkline(list(range(1000)))[-1] == "█"
