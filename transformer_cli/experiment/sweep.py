"""Implementation of `sweep`: trains the combinations of a grid, each as a run of its own, and compares them.

Each member is the command `train` in a process of its own: one that fails or is killed does not stop the others,
and the same sweep resumes what is unfinished.
"""

from __future__ import annotations

import csv
import io
import itertools
import re
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from transformer_cli import durable
from transformer_cli.artifacts.run_directory import RunDirectory
from transformer_cli.data.text import Notify
from transformer_cli.errors import ConfigError
from transformer_cli.evaluation.plots import draw_sweep
from transformer_cli.training.metrics_log import read_metrics

UNSAFE = re.compile(r"[^A-Za-z0-9.=+_-]")
"""Characters that are not used in names of directories."""
COMMA = re.compile(r",(?![^\[]*\])")
"""A comma outside of brackets."""
MAX_MEMBERS = 1000
LOWER_IS_BETTER = ("loss",)


@dataclass(frozen=True)
class Member:
    """A run of a sweep: its directory, the settings of its combination, and its seed."""

    run: Path
    settings: tuple[str, ...]
    seed: int


@dataclass(frozen=True)
class MemberResult:
    """The best validation score of a member, at which step, and its cost.

    Attributes:
        score: None if it has no validation.
        exit_code: of its training; 0 = it ended.
    """

    run: str
    settings: tuple[str, ...]
    seed: int
    score: float | None
    step: int
    minutes: float
    exit_code: int


@dataclass(frozen=True)
class Combination:
    """The members with the same settings: mean and standard deviation of their scores; `sd` needs two."""

    settings: tuple[str, ...]
    members: int
    failed: int
    mean: float | None
    sd: float | None
    minutes: float


@dataclass(frozen=True)
class SweepResult:
    """The results of a sweep: members in order, combinations with the best first."""

    metric: str
    members: list[MemberResult]
    combinations: list[Combination]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def to_csv(self) -> str:
        """A row for each member."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(["run", "settings", "seed", self.metric, "step", "minutes", "exit_code"])
        for m in self.members:
            score = "" if m.score is None else f"{m.score:.4f}"
            writer.writerow([m.run, " ".join(m.settings), m.seed, score, m.step, f"{m.minutes:.2f}", m.exit_code])
        return buffer.getvalue()


def plan(directory: Path, grid: Sequence[str], seeds: int) -> list[Member]:
    """The members of a sweep: every combination of the grid with every seed from 1.

    Args:
        grid: `KEY=VALUE,VALUE,...`; a comma in brackets is part of a value.

    Raises:
        ConfigError: a grid that cannot be read, or too many members.
    """
    axes: list[list[str]] = []
    for axis in grid:
        key, equals, values = axis.partition("=")
        parts = [value.strip() for value in COMMA.split(values)]
        if not equals or not key.strip() or not all(parts):
            raise ConfigError(f"--grid {axis}: expected KEY=VALUE,VALUE", hint="--grid optim.lr=1e-3,3e-3")
        axes.append([f"{key.strip()}={value}" for value in dict.fromkeys(parts)])
    keys = [axis[0].partition("=")[0] for axis in axes]
    if "training.seed" in keys or len(set(keys)) < len(keys):
        raise ConfigError("--grid: each key once, and not training.seed: use --seeds N")
    combinations = list(itertools.product(*axes))
    if len(combinations) * seeds > MAX_MEMBERS:
        raise ConfigError(f"{len(combinations) * seeds:,} runs are more than {MAX_MEMBERS:,}")
    members = [
        Member(directory / _name(settings, seed), settings, seed)
        for settings in combinations
        for seed in range(1, seeds + 1)
    ]
    if len({member.run for member in members}) < len(members):
        raise ConfigError("--grid: two combinations would have the same name of a directory")
    return members


def run_sweep(directory: Path, members: Sequence[Member], arguments: Sequence[str], notify: Notify) -> SweepResult:
    """Train the members one after the other; after each, write `sweep.json`, `sweep.csv` and `sweep.png`.

    Args:
        arguments: of `train`, apart from the run and the settings of the members.

    Raises:
        DiskError: the results cannot be written.
    """
    durable.make_directory(directory)
    codes: dict[Path, int] = {}
    for number, member in enumerate(members, 1):
        notify(f"sweep: run {number} of {len(members)}: {member.run}")
        settings = [*member.settings, f"training.seed={member.seed}"]
        options = [word for setting in settings for word in ("--set", setting)]
        command = [
            sys.executable,
            "-m",
            "transformer_cli",
            "train",
            *arguments,
            *options,
            "--run",
            str(member.run),
        ]
        codes[member.run] = _train(command)
        if codes[member.run]:
            notify(f"warning: {member.run}: its training ended with exit code {codes[member.run]}")
        result = collect(members[:number], codes)
        durable.write_json(directory / "sweep.json", result.to_json())
        durable.write_text(directory / "sweep.csv", result.to_csv())
        scored = [(m.settings, m.score) for m in result.members if m.score is not None]
        scores = [
            (" ".join(c.settings), [score for settings, score in scored if settings == c.settings])
            for c in result.combinations
        ]
        buffer = io.BytesIO()
        draw_sweep(scores, f"best validation {result.metric} of each run", buffer)
        durable.write_bytes(directory / "sweep.png", buffer.getvalue())
    return result


def collect(members: Sequence[Member], codes: dict[Path, int]) -> SweepResult:
    """Read the results of members from their runs. `codes`: exit code of each run."""
    metric = next((m for run in members if (m := _metric(run.run))), "bleu")
    results = [_result(member, metric, codes.get(member.run, 0)) for member in members]
    combinations = []
    for settings in dict.fromkeys(member.settings for member in members):
        group = [r for r in results if r.settings == settings]
        scores = [r.score for r in group if r.score is not None and not r.exit_code]
        combinations.append(
            Combination(
                settings,
                len(group),
                sum(r.exit_code != 0 for r in group),
                statistics.fmean(scores) if scores else None,
                statistics.stdev(scores) if len(scores) > 1 else None,
                sum(r.minutes for r in group),
            )
        )
    sign = 1 if metric in LOWER_IS_BETTER else -1
    combinations.sort(key=lambda c: (c.mean is None, sign * (c.mean or 0.0)))
    return SweepResult(metric, results, combinations)


def _train(command: Sequence[str]) -> int:
    """Run a training to its end. A Ctrl-C, which it gets as well, lets it save before the sweep ends."""
    with subprocess.Popen(command) as process:
        try:
            return process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise


def _metric(run: Path) -> str:
    directory = RunDirectory(run)
    return directory.load_config().training.metric if directory.exists else ""


def _result(member: Member, metric: str, code: int) -> MemberResult:
    records = list(_validations(member.run, metric))
    choose: Callable[..., tuple[float, int]] = min if metric in LOWER_IS_BETTER else max
    score, step = choose(((s, t) for s, t, _ in records), default=(None, 0), key=lambda pair: pair[0])
    minutes = max((seconds for *_, seconds in records), default=0.0) / 60
    return MemberResult(str(member.run), member.settings, member.seed, score, step, minutes, code)


def _validations(run: Path, metric: str) -> Iterator[tuple[float, int, float]]:
    """(score, step, seconds) of each validation."""
    for record in read_metrics(RunDirectory(run).metrics):
        if record.get("kind") == "validation" and isinstance(record.get(metric), int | float):
            yield float(record[metric]), int(record["step"]), float(record.get("seconds") or 0.0)


def _name(settings: Sequence[str], seed: int) -> str:
    """The directory of a member: `optim.lr=1e-3,model.dropout=0.1` becomes `lr=1e-3_dropout=0.1_seed=1`."""
    parts = [
        setting.partition("=")[0].rpartition(".")[2] + "=" + setting.partition("=")[2] for setting in settings
    ]
    return "_".join(UNSAFE.sub("-", part) for part in [*parts, f"seed={seed}"])
