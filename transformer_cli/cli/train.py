"""`train`: two text files in, a run directory out."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from transformer_cli.cli.terminal import exit_on_signal, finish_step_on_signal, notify

if TYPE_CHECKING:
    from transformer_cli.experiment.training import TrainingOutcome
    from transformer_cli.training.loop import StopRequest

ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that ask for an end, the last when a terminal goes away."""


def train(
    run: Annotated[
        Path,
        typer.Option("--run", "--run-dir", metavar="DIR", help="The run directory; an existing run is resumed."),
    ],
    src: Annotated[
        list[Path],
        typer.Option("--src", metavar="FILE", help="Source text; may be given several times."),
    ],
    tgt: Annotated[list[Path], typer.Option("--tgt", metavar="FILE", help="Target text, in the same order.")],
    config: Annotated[
        Path | None,
        typer.Argument(metavar="CONFIG", help="YAML configuration. Default: a recipe by corpus size."),
    ] = None,
    valid_src: Annotated[
        Path | None,
        typer.Option(
            "--valid-src",
            metavar="FILE",
            help="Validation source. Default: up to 1,000 pairs (at most 5 %) held out.",
        ),
    ] = None,
    valid_tgt: Annotated[
        Path | None, typer.Option("--valid-tgt", metavar="FILE", help="Validation target.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="section.key=value; wins over the configuration. May be given several times.",
        ),
    ] = None,
    max_steps: Annotated[
        int | None,
        typer.Option("--max-steps", help="Stop after so many updates (training.max_steps)."),
    ] = None,
    max_minutes: Annotated[
        float | None,
        typer.Option("--max-minutes", help="Stop after so many minutes of training, validation included."),
    ] = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option(
            "--tokenizer",
            metavar="FILE",
            help="A tokenizer made by: tokenizer train. Default: trained here.",
        ),
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or mps.")] = "auto",
    strict_utf8: Annotated[
        bool,
        typer.Option("--strict-utf8", help="Refuse text that is not UTF-8 instead of mending it."),
    ] = False,
) -> None:
    """Check the text, train tokenizer and model, validate, keep the best. The same command resumes."""
    from transformer_cli.experiment.training import TrainRequest, run_training
    from transformer_cli.training.loop import StopRequest

    given = list(settings or [])
    given += [f"training.max_steps={max_steps}"] if max_steps is not None else []
    given += [f"training.max_minutes={max_minutes}"] if max_minutes is not None else []
    request = TrainRequest(run, src, tgt, valid_src, valid_tgt, config, given, tokenizer, device, strict_utf8)
    stop = StopRequest()
    exit_on_signal(*ENDS, note=lambda: "; training had not begun")
    outcome = run_training(request, notify, stop, lambda: _handle_signals(stop))
    if outcome.is_main:
        _report(outcome)
    if outcome.interrupted:
        raise typer.Exit(128 + stop.signal)


def _handle_signals(stop: StopRequest) -> None:
    """The first SIGINT, SIGTERM or SIGHUP asks for a clean end; a second one ends the process at once.

    Not under `torchrun`, which sends signals of its own and, after its `--shutdown-timeout`, kills.
    """
    launched = "TORCHELASTIC_RUN_ID" in os.environ

    def handle(number: int, _: Any) -> None:
        if stop.signal and launched:
            return
        if stop.signal:
            os.write(2, b"second signal: leaving at once\n")
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        stop.signal = number
        # Not through sys.stderr, which may be in the middle of a write: it would raise instead.
        with contextlib.suppress(OSError):
            os.write(2, b"\nsignal received: finishing the step and saving; once more leaves at once\n")

    finish_step_on_signal(handle, *ENDS)


def _report(outcome: TrainingOutcome) -> None:
    from transformer_cli.evaluation.plots import draw_curves

    progress, run = outcome.progress, outcome.run
    draw_curves(run.metrics, run.curves)
    minutes = progress.seconds / 60
    ended = "had already ended" if outcome.steps == 0 else "ended"
    notify(f"{ended} at step {progress.step} after {minutes:.1f} minutes of training: {outcome.reason}")
    if progress.best_score is not None:
        notify(
            f"best validation score {abs(progress.best_score):.2f} at step {progress.best_step}; "
            f"curves: {run.curves}"
        )
    limit = outcome.reason.split()[0].replace("_", "-")
    more = f", with a higher --{limit}" if limit.startswith("max") else ""
    notify(f"to go on: the same command again{more}")
    if progress.step:
        # Stopped before the first validation there is no best.
        checkpoint = "" if progress.best_score is not None else " --checkpoint last"
        command = f"transformer-cli translate {shlex.quote(str(run.path))}{checkpoint}"
        notify(f"to use it: {command} < input.txt > output.txt")
