#!/usr/bin/env python
"""Long randomized trials of the guarantees about crashes and bad input; the tests run short versions.

    scripts/soak.py kills --count 2000       # SIGKILL at random moments, resume, compare bit for bit
    scripts/soak.py signals --count 300      # SIGINT and SIGTERM: exits in time, saved and resumable
    scripts/soak.py text --count 100000      # hostile lines: as many output lines as input lines
    scripts/soak.py files --count 500        # flipped bits and truncated files: each one is refused
    scripts/soak.py ranks --count 20         # one of two ranks killed: torchrun --max-restarts resumes
    scripts/soak.py faults --count 50        # one of two ranks killed, no restart: the other exits in time

Every trial with one process is forked from this process, which has imported everything, and starts at once.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported: a fork of a multithreaded process can deadlock

import argparse
import contextlib
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from soak_workspace import SAVE_EVERY, Workspace, fork_cli, wait_for_exit, worker_pids
from tqdm import tqdm

from transformer_cli.artifacts.loading import load_model
from transformer_cli.errors import CheckpointError
from transformer_cli.manifest import read_manifest

EXIT_TIMEOUT = 10.0
"""Seconds that a run has to save and exit after a signal."""
PEER_FAILURE_TIMEOUT = 30.0
"""Seconds that a rank has to exit after the other rank was killed."""


def kills(workspace: Workspace, count: int, rng: random.Random) -> list[str]:
    """SIGKILL at random moments; the same command resumes; the result equals that of an uninterrupted run."""
    duration = workspace.train_uninterrupted("whole")
    expected, failures, finished = workspace.result("whole"), [], 0
    bar = tqdm(total=count, desc="kills")
    while bar.n < count or not finished:
        pid = workspace.train("killed")
        code = wait_for_exit(pid, rng.uniform(0.0, duration / 2))
        if code is None:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            bar.update()
            try:
                saved = workspace.newest_step("killed")
            except CheckpointError as error:
                failures.append(f"damaged checkpoint after a kill: {error}")
                break
            if workspace.last_logged_step("killed") - saved > SAVE_EVERY:
                failures.append(f"more than {SAVE_EVERY} updates lost")
        elif code:
            failures.append(f"resuming failed with exit code {code}: {workspace.log_tail(500)}")
            break
        else:
            finished += 1
            if workspace.result("killed") != expected:
                failures.append("the result differs from that of the uninterrupted run")
            workspace.remove("killed")
    bar.close()
    if not failures:
        print(f"{bar.n} kills; {finished} runs finished, each equal to the uninterrupted run")
    return failures


def signals(workspace: Workspace, count: int, rng: random.Random) -> list[str]:
    """SIGINT and SIGTERM at random moments: the run saves, exits in time, and resumes to the same result."""
    duration = workspace.train_uninterrupted("whole")
    expected, failures, slowest = workspace.result("whole"), [], 0.0
    bar = tqdm(total=count, desc="signals")
    while bar.n < count:
        log_size = workspace.log.stat().st_size
        pid = workspace.train("stopped")
        if wait_for_exit(pid, rng.uniform(0.05, duration)) is None:
            number = rng.choice([signal.SIGINT, signal.SIGTERM])
            logged, start = workspace.last_logged_step("stopped"), time.monotonic()
            os.kill(pid, number)
            code = wait_for_exit(pid, EXIT_TIMEOUT)
            slowest = max(slowest, time.monotonic() - start)
            bar.update()
            # Before the first message, handlers may not be installed yet and the signal kills the process.
            has_handlers = workspace.log.stat().st_size > log_size
            if code not in (128 + number, 0) and (has_handlers or code != -number):
                failures.append(f"signal {number}: exit code {code}")
                break
            if workspace.newest_step("stopped") < logged:
                failures.append(f"signal {number}: updates were lost")
        elif workspace.result("stopped") != expected:
            failures.append("the result differs from that of the uninterrupted run")
        if workspace.final_checkpoint("stopped").exists():
            workspace.remove("stopped")
    bar.close()
    print(f"{bar.n} signals; the slowest exit took {slowest:.2f} s")
    return failures


def text(workspace: Workspace, count: int, rng: random.Random) -> list[str]:
    """Hostile lines through `translate`: as many output lines as input lines, and exit code 0."""
    workspace.train_uninterrupted("whole")
    fragments = [
        b"the dog",
        b"\r",
        b"\x00",
        b"\xff\xfe",
        b"\xe2\x80\xa8",
        b"\xc2\x85",
        b"\x0c",
        b"\xef\xbb\xbf",
        b"  ",
    ]
    fragments += ["ß漢字😀ا".encode(), b"\xed\xa0\x80", b"<unk></s>", b"a" * 3000]
    weights = [10, *[2] * (len(fragments) - 2), 0.01]
    failures, chunk = [], 5000
    source, target = workspace.directory / "hostile", workspace.directory / "out"
    for start in tqdm(range(0, count, chunk), desc="text", unit_scale=chunk):
        lines = min(chunk, count - start)
        source.write_bytes(
            b"".join(b" ".join(rng.choices(fragments, weights, k=rng.randrange(5))) + b"\n" for _ in range(lines))
        )
        target.unlink(missing_ok=True)
        pid = fork_cli(["translate", str(workspace.directory / "whole")], workspace.log, source, target)
        code = wait_for_exit(pid, 600)
        written = target.read_bytes().count(b"\n")
        if code or written != lines:
            failures.append(f"exit code {code}, {written} of {lines} lines")
    return failures


def files(workspace: Workspace, count: int, rng: random.Random) -> list[str]:
    """Flip a bit of, or truncate, each file that a model is loaded from: loading is refused each time."""
    workspace.train_uninterrupted("whole")
    run, failures = workspace.directory / "whole", []
    best = workspace.checkpoints("whole").resolve_link("best")
    assert best is not None
    model_files = [*(best / name for name in read_manifest(best)["files"]), run / "tokenizer.model"]
    device = torch.device("cpu")
    load_model(run, device)
    for trial in tqdm(range(count), desc="files"):
        file = rng.choice(model_files)
        intact = file.read_bytes()
        offset = rng.randrange(len(intact))
        flipped = intact[:offset] + bytes([intact[offset] ^ 1 << rng.randrange(8)]) + intact[offset + 1 :]
        file.write_bytes(intact[:offset] if trial % 11 == 0 else flipped)
        try:
            load_model(run, device)
        except CheckpointError:
            pass
        except Exception as error:
            failures.append(f"{file.name}, byte {offset}: {type(error).__name__}: {error}")
        else:
            failures.append(f"{file.name}, byte {offset}: loaded although it is damaged")
        file.write_bytes(intact)
    return failures


def ranks(workspace: Workspace, count: int, rng: random.Random) -> list[str]:
    """SIGKILL of one of two ranks at random moments: torchrun restarts both, and the result is the same."""
    _, duration = train_two_ranks(workspace, "whole", 0, rng)
    expected, failures, killed = workspace.result("whole"), [], 0
    bar = tqdm(total=count, desc="ranks")
    while killed < count:
        kills, _ = train_two_ranks(workspace, "hurt", min(3, count - killed), rng, duration)
        killed += kills
        bar.update(kills)
        if workspace.result("hurt") != expected:
            failures.append("the result differs from that of the uninterrupted run with two ranks")
        workspace.remove("hurt")
    bar.close()
    return failures


def faults(workspace: Workspace, count: int, rng: random.Random) -> list[str]:
    """SIGKILL of one of two ranks without restart: both exit in time, and the same command resumes."""
    _, duration = train_two_ranks(workspace, "whole", 0, rng)
    expected, slowest = workspace.result("whole"), 0.0
    failures: list[str] = []
    bar = tqdm(total=count, desc="faults")
    while bar.n < count and not failures:
        with workspace.log.open("ab") as log, workspace.torchrun("hurt", 0, log) as launcher:
            time.sleep(rng.uniform(0.3, 0.9) * duration)
            workers = worker_pids(launcher)
            if workers:
                os.kill(rng.choice(workers), signal.SIGKILL)
                start = time.monotonic()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    launcher.wait(PEER_FAILURE_TIMEOUT)
                slowest = max(slowest, time.monotonic() - start)
                bar.update()
            elif launcher.wait(600) == 0:
                if workspace.result("hurt") != expected:
                    failures.append("the result differs from that of the uninterrupted run with two ranks")
                workspace.remove("hurt")
            if launcher.poll() is None or any(Path(f"/proc/{worker}").exists() for worker in workers):
                failures.append(f"a process was still running {PEER_FAILURE_TIMEOUT} s after the other was killed")
            elif workers and launcher.returncode == 0:
                failures.append("torchrun reported success although a rank was killed")
            launcher.kill()
    train_two_ranks(workspace, "hurt", 0, rng)
    if workspace.result("hurt") != expected:
        failures.append("the result differs from that of the uninterrupted run with two ranks")
    bar.close()
    print(f"{bar.n} faults; the slowest exit took {slowest:.2f} s")
    return failures


def train_two_ranks(
    workspace: Workspace, run: str, max_kills: int, rng: random.Random, duration: float = 0.0
) -> tuple[int, float]:
    """Train with two ranks and kill one of them up to `max_kills` times; return the kills and the seconds.

    `duration`: seconds of an uninterrupted run; each kill follows 0.3 to 0.9 of it after the previous one.
    """
    start, kills = time.monotonic(), 0
    with workspace.log.open("ab") as log, workspace.torchrun(run, 10, log) as launcher:
        deadline = time.monotonic() + 600
        while launcher.poll() is None and time.monotonic() < deadline:
            time.sleep(rng.uniform(0.3, 0.9) * duration if kills < max_kills else 0.1)
            workers = worker_pids(launcher)
            if kills < max_kills and workers:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(rng.choice(workers), signal.SIGKILL)
                    kills += 1
        launcher.kill()
    if launcher.returncode:
        raise SystemExit(f"torchrun failed with exit code {launcher.returncode}:\n{workspace.log_tail(3000)}")
    return kills, time.monotonic() - start


TRIALS: dict[str, Callable[[Workspace, int, random.Random], list[str]]] = {
    "kills": kills,
    "signals": signals,
    "text": text,
    "files": files,
    "ranks": ranks,
    "faults": faults,
}


def main() -> int:
    """Run the selected trial; return 1 if there were failures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trial", choices=TRIALS)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        failures = TRIALS[args.trial](Workspace(Path(directory)), args.count, random.Random(args.seed))
    for failure in failures:
        print(failure, file=sys.stderr)
    print(f"{args.trial}: {args.count} trials, {len(failures)} failures")
    return bool(failures)


if __name__ == "__main__":
    raise SystemExit(main())
