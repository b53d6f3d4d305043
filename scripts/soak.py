#!/usr/bin/env python
"""The promises about crashes and bad input, tried long and at random; the tests try them briefly.

    scripts/soak.py kills --count 2000       # SIGKILL at random moments, resume, compare bit for bit
    scripts/soak.py signals --count 300      # SIGINT and SIGTERM: saved in time, resumable
    scripts/soak.py text --count 100000      # hostile lines: as many come out as went in
    scripts/soak.py files --count 500        # flipped and truncated files: each is refused
    scripts/soak.py ranks --count 20         # one of two ranks killed: torchrun --max-restarts carries on
    scripts/soak.py faults --count 50        # one of two ranks killed, no restart: the other leaves in time

Every trial (but those of several ranks) is a fork of one process that has imported everything: it starts at once.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # a fork of a process with threads of its own would hang

import argparse
import contextlib
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import torch
from tqdm import tqdm

from transformer_cli.artifacts.loading import load_model
from transformer_cli.cli.app import main as command_line
from transformer_cli.errors import CheckpointError
from transformer_cli.training.checkpoint import MODEL, OPTIMIZER, CheckpointStore, read_manifest, read_state

# A lock that processes share would stay locked when a child is killed that holds it.
tqdm.set_lock(threading.RLock())
tqdm.monitor_interval = 0

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
"""A run of seconds that uses all that a checkpoint must bring back."""
ALLOWED = 10.0
"""Seconds that a signalled run has to save and leave."""
ALONE = 30.0
"""Seconds that a rank has to leave whose neighbour is gone."""


def fork(arguments: list[str], log: Path, stdin: Path = Path(os.devnull), stdout: Path | None = None) -> int:
    """Run the command line in a child; returns its process id."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        opened = [stdin.open("rb"), (stdout or log).open("ab"), log.open("ab")]
        for number, stream in enumerate(opened):
            os.dup2(stream.fileno(), number)
        sys.argv = ["transformer-cli", *arguments]
        command_line()
    except SystemExit as end:
        code = int(end.code or 0)
    except KeyboardInterrupt:  # before the program listened: a process of its own would die of the signal
        code = 128 + signal.SIGINT
    finally:
        sys.stderr.flush()
        os._exit(code)


def ending(child: int, seconds: float) -> int | None:
    """Exit code of a child that ends within so many seconds (negative: the signal that ended it), else None."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    return None


class Bench:
    """A small corpus and the runs on it, in a directory of its own."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.log = place / "log"
        for name, count in (("train", 300), ("valid", 20)):
            for side in ("en", "de"):
                lines = (ROOT / f"data/sample/{name}.{side}").read_bytes().split(b"\n")[:count]
                (place / f"{name}.{side}").write_bytes(b"\n".join(lines) + b"\n")

    def train(self, run: str) -> int:
        return fork(self.arguments(run), self.log)

    def arguments(self, run: str) -> list[str]:
        files = {"--src": "train.en", "--tgt": "train.de", "--valid-src": "valid.en", "--valid-tgt": "valid.de"}
        arguments = ["train", "--run-dir", str(self.place / run), "--max-steps", str(STEPS), "--device", "cpu"]
        arguments += [x for option, name in files.items() for x in (option, str(self.place / name))]
        return [*arguments, *(x for s in SETTINGS for x in ("--set", s))]

    def finish(self, run: str) -> float:
        """Train without disturbance; returns seconds."""
        began = time.monotonic()
        if ending(self.train(run), 120) != 0:
            raise SystemExit(f"the undisturbed run failed:\n{self.log.read_text(errors='replace')[-3000:]}")
        return time.monotonic() - began

    def checkpoints(self, run: str) -> CheckpointStore:
        return CheckpointStore(self.place / run / "checkpoints", {})

    def newest(self, run: str) -> int:
        """The step of the newest checkpoint; 0 if there is none. Raises: CheckpointError if any is damaged."""
        newest, problems = self.checkpoints(run).newest_intact()
        if problems:
            raise CheckpointError("; ".join(problems))
        return int(newest.name[5:]) if newest else 0

    def result(self, run: str) -> tuple[bytes, bytes, dict[str, object]]:
        """Everything that two equal runs have in common at their end."""
        last = self.place / run / "checkpoints" / f"step_{STEPS:09d}"
        state = read_state(last)
        clock = ("seconds", "reserve")
        return (
            (last / MODEL).read_bytes(),
            (last / OPTIMIZER).read_bytes(),
            {k: v for k, v in state.items() if k not in clock},
        )


def kills(bench: Bench, count: int, rng: random.Random) -> list[str]:
    """SIGKILL at random moments; the same command goes on; the end equals that of a run never killed."""
    usual = bench.finish("whole")
    expected, wrong, finished = bench.result("whole"), [], 0
    bar = tqdm(total=count, desc="kills")
    while bar.n < count or not finished:
        child = bench.train("killed")
        code = ending(child, rng.uniform(0.0, usual / 2))
        if code is None:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            bar.update()
            try:
                saved = bench.newest("killed")
            except CheckpointError as error:
                wrong.append(f"unreadable after a kill: {error}")
                break
            if last_logged(bench.place / "killed") - saved > SAVE_EVERY:
                wrong.append(f"more than {SAVE_EVERY} updates lost")
        elif code:
            wrong.append(f"resuming failed with {code}: {bench.log.read_text(errors='replace')[-500:]}")
            break
        else:
            finished += 1
            if bench.result("killed") != expected:
                wrong.append("the end differs from that of the undisturbed run")
            shutil.rmtree(bench.place / "killed")
    bar.close()
    if not wrong:
        print(f"{bar.n} kills, {finished} runs finished and equal to the undisturbed one")
    return wrong


def last_logged(run: Path) -> int:
    metrics = run / "metrics.jsonl"
    lines = metrics.read_text().split("\n")[:-1] if metrics.exists() else []
    return int(json.loads(lines[-1])["step"]) if lines else 0


def signals(bench: Bench, count: int, rng: random.Random) -> list[str]:
    """SIGINT and SIGTERM at random moments: saved and gone in time, and the run goes on to the same end."""
    usual = bench.finish("whole")
    expected, wrong, slowest = bench.result("whole"), [], 0.0
    bar = tqdm(total=count, desc="signals")
    while bar.n < count:
        said = bench.log.stat().st_size
        child = bench.train("stopped")
        if ending(child, rng.uniform(0.05, usual)) is None:
            number = rng.choice([signal.SIGINT, signal.SIGTERM])
            logged, began = last_logged(bench.place / "stopped"), time.monotonic()
            os.kill(child, number)
            code = ending(child, ALLOWED)
            slowest = max(slowest, time.monotonic() - began)
            bar.update()
            listened = bench.log.stat().st_size > said
            if code not in (128 + number, 0) and (listened or code != -number):
                wrong.append(f"signal {number}: exit code {code}")
                break
            if bench.newest("stopped") < logged:
                wrong.append(f"signal {number}: updates were lost")
        elif bench.result("stopped") != expected:
            wrong.append("the end differs from that of the undisturbed run")
        if (bench.place / "stopped/checkpoints" / f"step_{STEPS:09d}").exists():
            shutil.rmtree(bench.place / "stopped")
    bar.close()
    print(f"{bar.n} signals; the slowest end took {slowest:.2f} s")
    return wrong


def text(bench: Bench, count: int, rng: random.Random) -> list[str]:
    """Hostile lines through `translate`: as many lines come out as went in, and nothing fails."""
    bench.finish("whole")
    pieces = [
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
    pieces += ["ß漢字😀ا".encode(), b"\xed\xa0\x80", b"<unk></s>", b"a" * 3000]
    weights = [10, *[2] * (len(pieces) - 2), 0.01]
    wrong, chunk = [], 5000
    source, target = bench.place / "hostile", bench.place / "out"
    for start in tqdm(range(0, count, chunk), desc="text", unit_scale=chunk):
        lines = min(chunk, count - start)
        source.write_bytes(
            b"".join(b" ".join(rng.choices(pieces, weights, k=rng.randrange(5))) + b"\n" for _ in range(lines))
        )
        target.unlink(missing_ok=True)
        code = ending(fork(["translate", str(bench.place / "whole")], bench.log, source, target), 600)
        found = target.read_bytes().count(b"\n")
        if code or found != lines:
            wrong.append(f"exit code {code}, {found} of {lines} lines")
    return wrong


def files(bench: Bench, count: int, rng: random.Random) -> list[str]:
    """Flipped bits and truncations of every file that a model is read from: refused each time."""
    bench.finish("whole")
    run, wrong = bench.place / "whole", []
    best = bench.checkpoints("whole").resolve_link("best")
    assert best is not None
    names = [*(best / name for name in read_manifest(best)["files"]), run / "tokenizer.model"]
    device = torch.device("cpu")
    load_model(run, device)
    for trial in tqdm(range(count), desc="files"):
        file = rng.choice(names)
        whole = file.read_bytes()
        at = rng.randrange(len(whole))
        flipped = whole[:at] + bytes([whole[at] ^ 1 << rng.randrange(8)]) + whole[at + 1 :]
        file.write_bytes(whole[:at] if trial % 11 == 0 else flipped)
        try:
            load_model(run, device)
        except CheckpointError:
            pass
        except Exception as error:
            wrong.append(f"{file.name} at {at}: {type(error).__name__}: {error}")
        else:
            wrong.append(f"{file.name} at {at}: loaded although it is damaged")
        file.write_bytes(whole)
    return wrong


def ranks(bench: Bench, count: int, rng: random.Random) -> list[str]:
    """SIGKILL of one of two ranks at random moments: torchrun starts both again, and the end is the same."""
    usual = two_ranks(bench, "whole", 0, rng)[1]
    expected, wrong, killed = bench.result("whole"), [], 0
    bar = tqdm(total=count, desc="ranks")
    while killed < count:
        kills, _ = two_ranks(bench, "hurt", min(3, count - killed), rng, usual)
        killed += kills
        bar.update(kills)
        if bench.result("hurt") != expected:
            wrong.append("the end differs from that of the undisturbed run of two ranks")
        shutil.rmtree(bench.place / "hurt")
    bar.close()
    return wrong


def two_ranks(bench: Bench, run: str, most: int, rng: random.Random, usual: float = 0.0) -> tuple[int, float]:
    """Train with two ranks and kill one of them up to `most` times; returns kills and seconds."""
    began, kills = time.monotonic(), 0
    with bench.log.open("ab") as log, torchrun(bench, run, 10, log) as launcher:
        until = time.monotonic() + 600
        while launcher.poll() is None and time.monotonic() < until:
            time.sleep(rng.uniform(0.3, 0.9) * usual if kills < most else 0.1)
            workers = ranks_of(launcher)
            if kills < most and workers:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(rng.choice(workers), signal.SIGKILL)
                    kills += 1
        launcher.kill()
    if launcher.returncode:
        raise SystemExit(
            f"torchrun ended with {launcher.returncode}:\n{bench.log.read_text(errors='replace')[-3000:]}"
        )
    return kills, time.monotonic() - began


def faults(bench: Bench, count: int, rng: random.Random) -> list[str]:
    """SIGKILL of one of two ranks and no restart: both are gone in time, and the same command goes on."""
    usual = two_ranks(bench, "whole", 0, rng)[1]
    expected, slowest = bench.result("whole"), 0.0
    wrong: list[str] = []
    bar = tqdm(total=count, desc="faults")
    while bar.n < count and not wrong:
        with bench.log.open("ab") as log, torchrun(bench, "hurt", 0, log) as launcher:
            time.sleep(rng.uniform(0.3, 0.9) * usual)
            workers = ranks_of(launcher)
            if workers:
                os.kill(rng.choice(workers), signal.SIGKILL)
                began = time.monotonic()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    launcher.wait(ALONE)
                slowest = max(slowest, time.monotonic() - began)
                bar.update()
            elif launcher.wait(600) == 0:
                if bench.result("hurt") != expected:
                    wrong.append("the end differs from that of the undisturbed run of two ranks")
                shutil.rmtree(bench.place / "hurt")
            if launcher.poll() is None or any(Path(f"/proc/{worker}").exists() for worker in workers):
                wrong.append(f"a process was still there {ALONE} s after its neighbour was killed")
            elif workers and launcher.returncode == 0:
                wrong.append("torchrun reported success although a rank was killed")
            launcher.kill()
    two_ranks(bench, "hurt", 0, rng)
    if bench.result("hurt") != expected:
        wrong.append("the end differs from that of the undisturbed run of two ranks")
    bar.close()
    print(f"{bar.n} faults; the slowest end took {slowest:.2f} s")
    return wrong


def torchrun(bench: Bench, run: str, restarts: int, log: BinaryIO) -> subprocess.Popen[bytes]:
    """A training with two ranks, begun."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["--max-restarts", str(restarts), "--monitor-interval", "0.1"]
    return subprocess.Popen([*command, "-m", "transformer_cli", *bench.arguments(run)], stdout=log, stderr=log)


def ranks_of(launcher: subprocess.Popen[bytes]) -> list[int]:
    """Process ids of both ranks; none if they are not both there."""
    children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children")
    found = [int(pid) for pid in children.read_text().split()] if children.exists() else []
    return found[-2:] if len(found) >= 2 else []


TRIALS: dict[str, Callable[[Bench, int, random.Random], list[str]]] = {
    "kills": kills,
    "signals": signals,
    "text": text,
    "files": files,
    "ranks": ranks,
    "faults": faults,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trial", choices=TRIALS)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        wrong = TRIALS[args.trial](Bench(Path(place)), args.count, random.Random(args.seed))
    for problem in wrong:
        print(problem, file=sys.stderr)
    print(f"{args.trial}: {args.count} trials, {len(wrong)} failures")
    return bool(wrong)


if __name__ == "__main__":
    raise SystemExit(main())
