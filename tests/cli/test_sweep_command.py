from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import TINY_RUN, cli


@pytest.mark.slow
def test_a_sweep_goes_on_after_a_failure_and_resumes(toy: Path, tmp_path: Path) -> None:
    files = ["--src", toy / "train.en", "--tgt", toy / "train.de", "--valid-src", toy / "valid.en"]
    files += [
        "--valid-tgt",
        toy / "valid.de",
        *(w for s in TINY_RUN if "num_heads" not in s for w in ("--set", s)),
    ]
    command = ["sweep", "--run", tmp_path / "s", "--grid", "model.num_heads=4,5", *files, "--device", "cpu"]
    done = cli(*command, "--max-steps", 4, "--json")
    assert done.returncode == 1 and b"is not a multiple of num_heads 5" in done.stderr, done.stderr.decode()
    good, bad = tmp_path / "s/num_heads=4_seed=1", tmp_path / "s/num_heads=5_seed=1"
    assert (good / "checkpoints/best").exists() and not (bad / "checkpoints").exists()
    result = json.loads((tmp_path / "s/sweep.json").read_text())
    assert result == json.loads(done.stdout) and [m["exit_code"] for m in result["members"]] == [0, 2]
    assert result["members"][0]["score"] is not None and result["combinations"][0]["settings"] == [
        "model.num_heads=4"
    ]
    again = cli(*command, "--max-steps", 6)
    assert again.returncode == 1 and b"resum" in again.stderr
    assert (tmp_path / "s/sweep.png").exists() and (tmp_path / "s/sweep.csv").read_text().count("\n") == 3
    assert (good / "metrics.jsonl").read_text().count('"validation"') >= 2
    assert again.stdout.decode().split("\n")[2].split()[0] == "none"


def test_mistakes(toy: Path, tmp_path: Path) -> None:
    done = cli(
        "sweep",
        "--run",
        tmp_path / "s",
        "--grid",
        "optim.lr",
        "--src",
        toy / "train.en",
        "--tgt",
        toy / "train.de",
    )
    assert done.returncode == 2 and b"expected KEY=VALUE" in done.stderr and not (tmp_path / "s").exists()
