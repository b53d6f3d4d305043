"""Training with two ranks on gloo compared with one process: equal losses, weights and resume."""

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
"""`--` because torchrun interprets `--run` as an abbreviation of its own options; `--run-dir` does not need it."""


def train_arguments(toy: Path, run: Path, *settings: str) -> list[str]:
    arguments: list[object] = ["train", "--run", run, "--device", "cpu"]
    for name, stem in (("", "train"), ("valid-", "valid")):
        arguments += [f"--{name}src", toy / f"{stem}.en", f"--{name}tgt", toy / f"{stem}.de"]
    for setting in (*TINY_RUN, "training.validate_every=25", *settings):
        arguments += ["--set", setting]
    return [str(argument) for argument in arguments]


def train(launcher: list[str], toy: Path, run: Path, *settings: str) -> subprocess.CompletedProcess[bytes]:
    command = [*launcher, *train_arguments(toy, run, *settings)]
    return subprocess.run(command, capture_output=True, timeout=300, env=ENVIRONMENT, check=False)


def losses(run: Path) -> list[float]:
    lines = (json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines())
    return [line["loss"] for line in lines]


def weights(run: Path, step: int) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(run / f"checkpoints/step_{step:09d}/model.safetensors")


def train_two_ranks(toy: Path, run: Path, *settings: str) -> str:
    """Train with two ranks; returns stderr."""
    result = train([*TORCHRUN, "transformer_cli"], toy, run, *settings)
    assert result.returncode == 0, result.stderr.decode()
    return result.stderr.decode()


def test_two_ranks_equal_one_process_with_accumulation(toy: Path, tmp_path: Path) -> None:
    settings = ["model.dropout=0.0", "training.max_steps=50"]
    stderr = train_two_ranks(toy, tmp_path / "two", *settings)
    assert stderr.count("ended at step 50") == 1  # only rank 0 prints
    result = train(CLI, toy, tmp_path / "one", *settings, "training.accumulate=2")
    assert result.returncode == 0, result.stderr.decode()
    two, one = losses(tmp_path / "two"), losses(tmp_path / "one")
    assert len(two) == len(one) == 12
    assert max(abs(a - b) for a, b in zip(two, one, strict=True)) < 1e-5
    torch.testing.assert_close(weights(tmp_path / "two", 50), weights(tmp_path / "one", 50), rtol=0, atol=1e-4)


def test_resume_with_two_ranks_is_exact(toy: Path, tmp_path: Path) -> None:
    settings = ["optim.schedule=constant", "model.dropout=0.3"]
    train_two_ranks(toy, tmp_path / "whole", *settings, "training.max_steps=24")
    train_two_ranks(toy, tmp_path / "resumed", *settings, "training.max_steps=11")
    stderr = train_two_ranks(toy, tmp_path / "resumed", *settings, "training.max_steps=24")
    assert "resuming from step_000000011" in stderr
    whole, resumed = weights(tmp_path / "whole", 24), weights(tmp_path / "resumed", 24)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    # Dropout differs between ranks, so the checkpoint contains the random states of both.
    tensors = safetensors.torch.load_file(tmp_path / "whole/checkpoints/step_000000024/optimizer.safetensors")
    assert not torch.equal(tensors["rng.cpu"], tensors["rng.cpu.1"])


@pytest.mark.parametrize("receiver", ["torchrun", "rank 1"])
def test_a_signal_saves_and_a_different_number_of_ranks_resumes(toy: Path, tmp_path: Path, receiver: str) -> None:
    run = tmp_path / "run"
    arguments = train_arguments(toy, run, "training.max_steps=1000000", "training.validate_every=1000000")
    command = [*TORCHRUN, "transformer_cli", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, env=ENVIRONMENT) as process:
        deadline = time.monotonic() + 60
        while not ((run / "metrics.jsonl").exists() and (run / "metrics.jsonl").stat().st_size):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(process.pid if receiver == "torchrun" else int(children[-1]), signal.SIGTERM)
        stderr = process.communicate(timeout=60)[1].decode()
    assert process.returncode != 0 and "leaving at once" not in stderr
    step = int(os.readlink(run / "checkpoints/last")[5:])
    assert step > 0
    result = train(CLI, toy, run, f"training.max_steps={step + 3}", "training.validate_every=1000000")
    assert result.returncode == 0 and f"resuming from step_{step:09d}".encode() in result.stderr


def test_a_configuration_error_is_reported_once(toy: Path, tmp_path: Path) -> None:
    arguments = ["--run-dir" if a == "--run" else a for a in train_arguments(toy, tmp_path, "model.d_modle=3")]
    result = subprocess.run(
        [*TORCHRUN[:-1], "transformer_cli", *arguments], capture_output=True, timeout=300, env=ENVIRONMENT
    )
    assert result.returncode != 0
    assert result.stderr.decode().count("d_modle") == 1 and b"defect" not in result.stderr


def test_a_single_process_does_not_communicate() -> None:
    ranks, x = Ranks(), torch.randn(3)
    before = x.clone()
    ranks.barrier()
    ranks.all_reduce([x])
    assert torch.equal(x, before) and ranks.broadcast([1.5]) == [1.5] and ranks.is_main
    (gathered,) = ranks.all_gather(x)
    assert gathered is x


@pytest.mark.parametrize("size", ["1", ""])
def test_without_torchrun_there_is_one_rank(size: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    if size:
        monkeypatch.setenv("WORLD_SIZE", size)
    assert Ranks.from_environment(torch.device("cpu")) == Ranks(0, 1)


class NeverCompleted:
    """A collective operation that never completes."""

    def is_completed(self) -> bool:
        return False

    def wait(self) -> None:
        raise AssertionError("waited for a rank that has exited")


def test_an_incomplete_torchrun_environment_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for size in ("2", "two"):
        monkeypatch.setenv("WORLD_SIZE", size)
        with pytest.raises(
            ConfigError, match=f"invalid torchrun environment: WORLD_SIZE is '{size}', missing RANK, LOCAL_RANK"
        ):
            Ranks.from_environment(torch.device("cpu"))


def test_a_world_size_that_is_not_a_number_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "0")
    monkeypatch.setenv("WORLD_SIZE", "two")
    with pytest.raises(ConfigError, match="WORLD_SIZE is 'two', which is not a number"):
        Ranks.from_environment(torch.device("cpu"))


def test_an_exited_peer_is_not_waited_for() -> None:
    exited = subprocess.Popen(["true"])
    exited.wait()
    ranks = Ranks(0, 3, (os.getpid(), exited.pid))
    start = time.monotonic()
    with pytest.raises(UserError, match="another process of this training run has exited"):
        ranks._wait(NeverCompleted(), torch.zeros(1))  # type: ignore[arg-type]
    assert time.monotonic() - start < 5
