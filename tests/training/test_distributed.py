"""Two processes on gloo against one: the same losses, the same weights, the same resume."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import safetensors.torch
import torch
from conftest import CLI, ENVIRONMENT, TINY_RUN

from transformer_cli.errors import ConfigError, UserError
from transformer_cli.training.distributed import Ranks

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "--"]
"""`--` because torchrun takes `--run` for a beginning of options of its own; `--run-dir` needs none."""


def arguments_of(toy: Path, run: Path, *settings: str) -> list[str]:
    arguments: list[object] = ["train", "--run", run, "--device", "cpu"]
    for name, stem in (("", "train"), ("valid-", "valid")):
        arguments += [f"--{name}src", toy / f"{stem}.en", f"--{name}tgt", toy / f"{stem}.de"]
    for setting in (*TINY_RUN, "training.validate_every=25", *settings):
        arguments += ["--set", setting]
    return [str(argument) for argument in arguments]


def train(launcher: list[str], toy: Path, run: Path, *settings: str) -> subprocess.CompletedProcess[bytes]:
    command = [*launcher, *arguments_of(toy, run, *settings)]
    return subprocess.run(command, capture_output=True, timeout=300, env=ENVIRONMENT, check=False)


def losses(run: Path) -> list[float]:
    lines = (json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines())
    return [line["loss"] for line in lines]


def weights(run: Path, step: int) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(run / f"checkpoints/step_{step:09d}/model.safetensors")


def together(toy: Path, run: Path, *settings: str) -> str:
    done = train([*TORCHRUN, "transformer_cli"], toy, run, *settings)
    assert done.returncode == 0, done.stderr.decode()
    return done.stderr.decode()


def test_two_ranks_are_one_that_accumulates(toy: Path, tmp_path: Path) -> None:
    settings = ["model.dropout=0.0", "training.max_steps=50"]
    said = together(toy, tmp_path / "two", *settings)
    assert said.count("ended at step 50") == 1  # one process speaks
    done = train(CLI, toy, tmp_path / "one", *settings, "training.accumulate=2")
    assert done.returncode == 0, done.stderr.decode()
    two, one = losses(tmp_path / "two"), losses(tmp_path / "one")
    assert len(two) == len(one) == 12
    assert max(abs(a - b) for a, b in zip(two, one, strict=True)) < 1e-5
    torch.testing.assert_close(weights(tmp_path / "two", 50), weights(tmp_path / "one", 50), rtol=0, atol=1e-4)


def test_resuming_two_ranks_is_exact(toy: Path, tmp_path: Path) -> None:
    settings = ["optim.schedule=constant", "model.dropout=0.3"]
    together(toy, tmp_path / "whole", *settings, "training.max_steps=24")
    together(toy, tmp_path / "halves", *settings, "training.max_steps=11")
    assert "resuming from step_000000011" in together(toy, tmp_path / "halves", *settings, "training.max_steps=24")
    whole, split = weights(tmp_path / "whole", 24), weights(tmp_path / "halves", 24)
    assert all(torch.equal(whole[name], split[name]) for name in whole)
    # Dropout differs from rank to rank, so both random states are kept.
    held = safetensors.torch.load_file(tmp_path / "whole/checkpoints/step_000000024/optimizer.safetensors")
    assert not torch.equal(held["rng.cpu"], held["rng.cpu.1"])


@pytest.mark.parametrize("told", ["torchrun", "rank 1"])
def test_a_signal_saves_and_another_number_of_ranks_goes_on(toy: Path, tmp_path: Path, told: str) -> None:
    run = tmp_path / "run"
    arguments = arguments_of(toy, run, "training.max_steps=1000000", "training.validate_every=1000000")
    command = [*TORCHRUN, "transformer_cli", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, env=ENVIRONMENT) as process:
        until = time.monotonic() + 60
        while not ((run / "metrics.jsonl").exists() and (run / "metrics.jsonl").stat().st_size):
            assert time.monotonic() < until
            time.sleep(0.05)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(process.pid if told == "torchrun" else int(children[-1]), signal.SIGTERM)
        said = process.communicate(timeout=60)[1].decode()
    assert process.returncode != 0 and "leaving at once" not in said
    step = int(os.readlink(run / "checkpoints/last")[5:])
    assert step > 0
    done = train(CLI, toy, run, f"training.max_steps={step + 3}", "training.validate_every=1000000")
    assert done.returncode == 0 and f"resuming from step_{step:09d}".encode() in done.stderr


def test_a_mistake_is_said_once(toy: Path, tmp_path: Path) -> None:
    arguments = ["--run-dir" if a == "--run" else a for a in arguments_of(toy, tmp_path, "model.d_modle=3")]
    done = subprocess.run(
        [*TORCHRUN[:-1], "transformer_cli", *arguments], capture_output=True, timeout=300, env=ENVIRONMENT
    )
    assert done.returncode != 0
    assert done.stderr.decode().count("d_modle") == 1 and b"defect" not in done.stderr


def test_alone_nothing_is_exchanged() -> None:
    ranks, x = Ranks(), torch.randn(3)
    before = x.clone()
    ranks.barrier()
    ranks.all_reduce([x])
    assert torch.equal(x, before) and ranks.broadcast([1.5]) == [1.5] and ranks.is_main
    (own,) = ranks.gather(x)
    assert own is x


@pytest.mark.parametrize("size", ["1", ""])
def test_without_torchrun_there_is_one_rank(size: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    if size:
        monkeypatch.setenv("WORLD_SIZE", size)
    assert Ranks.from_environment(torch.device("cpu")) == Ranks(0, 1)


class Endless:
    """An exchange that nobody answers."""

    def is_completed(self) -> bool:
        return False

    def barrier(self) -> None:
        raise AssertionError("waited for a rank that is gone")


def test_half_of_what_torchrun_sets_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for size in ("2", "two"):
        monkeypatch.setenv("WORLD_SIZE", size)
        with pytest.raises(ConfigError, match="not what torchrun sets"):
            Ranks.from_environment(torch.device("cpu"))


def test_a_neighbour_that_is_gone_is_not_waited_for() -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    living = Ranks(0, 3, (os.getpid(), gone.pid))
    began = time.monotonic()
    with pytest.raises(UserError, match="another process of this training has ended"):
        living._finish(Endless(), torch.zeros(1))  # type: ignore[arg-type]
    assert time.monotonic() - began < 5
