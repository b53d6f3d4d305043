"""The runs that the trials of `soak.py` start, interrupt and compare, and the processes they run in.

`soak.py` limits torch to one thread before it imports this module.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import BinaryIO

from tqdm import tqdm

from transformer_cli.cli.app import main as cli_main
from transformer_cli.errors import CheckpointError
from transformer_cli.manifest import MODEL, OPTIMIZER, read_state
from transformer_cli.training.checkpoint import CheckpointStore

# The default lock of tqdm is shared between processes: a child killed while holding it would block all others.
tqdm.set_lock(threading.RLock())
tqdm.monitor_interval = 0  # no monitor thread: only single-threaded processes fork safely

ROOT = Path(__file__).resolve().parents[1]
STEPS, SAVE_EVERY = 240, 10
SETTINGS = [
    "tokenizer.vocab_size=500",
    "model.d_model=16",
    "model.num_heads=2",
    "model.d_ff=32",
    "model.encoder_layers=1",
    "model.decoder_layers=1",
    "model.dropout=0.1",
    "data.batch_tokens=128",
    "data.max_length=60",
    "data.subword_sampling=0.1",
    "training.accumulate=2",
    "training.ema=0.9",
    "training.log_every=1",
    f"training.save_every={SAVE_EVERY}",
    "training.validate_every=120",
    "training.keep_last=2",
]
"""A run of a few seconds that uses every state that a checkpoint must restore."""


def fork_cli(arguments: list[str], log: Path, stdin: Path = Path(os.devnull), stdout: Path | None = None) -> int:
    """Run the command line in a forked child; return its process id.

    Appends stderr to `log`, and stdout to `stdout` or else to `log`.
    """
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        streams = [stdin.open("rb"), (stdout or log).open("ab"), log.open("ab")]
        for number, stream in enumerate(streams):
            os.dup2(stream.fileno(), number)
        sys.argv = ["transformer-cli", *arguments]
        cli_main()
    except SystemExit as error:
        code = int(error.code or 0)
    except KeyboardInterrupt:  # no handler installed yet; a new interpreter would be killed by the signal
        code = 128 + signal.SIGINT
    finally:
        sys.stderr.flush()
        os._exit(code)


def wait_for_exit(pid: int, timeout: float) -> int | None:
    """Return the exit code of a child (negative: the signal that killed it); None after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        exited, status = os.waitpid(pid, os.WNOHANG)
        if exited:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    return None


class Workspace:
    """A directory with a small corpus, the runs trained on it, and their log."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.log = directory / "log"
        for name, count in (("train", 300), ("valid", 20)):
            for side in ("en", "de"):
                lines = (ROOT / f"data/sample/{name}.{side}").read_bytes().split(b"\n")[:count]
                (directory / f"{name}.{side}").write_bytes(b"\n".join(lines) + b"\n")

    def train(self, run: str) -> int:
        """Start or resume the run in a child; return its process id."""
        return fork_cli(self.train_arguments(run), self.log)

    def train_arguments(self, run: str) -> list[str]:
        """Return the arguments of `train` for this run."""
        files = {"--src": "train.en", "--tgt": "train.de", "--valid-src": "valid.en", "--valid-tgt": "valid.de"}
        arguments = ["train", "--run-dir", str(self.directory / run), "--max-steps", str(STEPS), "--device", "cpu"]
        arguments += [x for option, name in files.items() for x in (option, str(self.directory / name))]
        return [*arguments, *(x for s in SETTINGS for x in ("--set", s))]

    def train_uninterrupted(self, run: str) -> float:
        """Train the run to its end; return the seconds."""
        start = time.monotonic()
        if wait_for_exit(self.train(run), 120) != 0:
            raise SystemExit(f"the uninterrupted run failed:\n{self.log_tail(3000)}")
        return time.monotonic() - start

    def checkpoints(self, run: str) -> CheckpointStore:
        return CheckpointStore(self.directory / run / "checkpoints", {})

    def newest_step(self, run: str) -> int:
        """Return the step of the newest checkpoint, 0 if there is none.

        Raises:
            CheckpointError: A checkpoint is damaged.
        """
        newest, problems = self.checkpoints(run).newest_intact()
        if problems:
            raise CheckpointError("; ".join(problems))
        return int(newest.name[5:]) if newest else 0

    def last_logged_step(self, run: str) -> int:
        """Return the last step in the run's metrics, 0 if there is none."""
        metrics = self.directory / run / "metrics.jsonl"
        lines = metrics.read_text().split("\n")[:-1] if metrics.exists() else []
        return int(json.loads(lines[-1])["step"]) if lines else 0

    def final_checkpoint(self, run: str) -> Path:
        return self.directory / run / "checkpoints" / f"step_{STEPS:09d}"

    def result(self, run: str) -> tuple[bytes, bytes, dict[str, object]]:
        """Return everything in the final checkpoint that must be equal in equal runs."""
        checkpoint = self.final_checkpoint(run)
        state = read_state(checkpoint)
        timing = ("seconds", "reserve")
        return (
            (checkpoint / MODEL).read_bytes(),
            (checkpoint / OPTIMIZER).read_bytes(),
            {k: v for k, v in state.items() if k not in timing},
        )

    def remove(self, run: str) -> None:
        shutil.rmtree(self.directory / run)

    def log_tail(self, characters: int) -> str:
        """Return the end of the log."""
        return self.log.read_text(errors="replace")[-characters:]

    def torchrun(self, run: str, max_restarts: int, log: BinaryIO) -> subprocess.Popen[bytes]:
        """Start torchrun, which trains the run with two ranks."""
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        command += ["--max-restarts", str(max_restarts), "--monitor-interval", "0.1"]
        command += ["-m", "transformer_cli", *self.train_arguments(run)]
        return subprocess.Popen(command, stdout=log, stderr=log)


def worker_pids(launcher: subprocess.Popen[bytes]) -> list[int]:
    """Return the process ids of both ranks; an empty list unless both are running."""
    children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children")
    pids = [int(pid) for pid in children.read_text().split()] if children.exists() else []
    return pids[-2:] if len(pids) >= 2 else []
