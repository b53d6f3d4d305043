"""`train`: a parallel corpus in, a run directory out."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from transformer_cli.cli.options import (
    INPUT,
    Columns,
    Data,
    DataFormat,
    Device,
    Src,
    StrictUtf8,
    Tgt,
    schema_options,
    value,
)
from transformer_cli.cli.terminal import exit_on_signal, finish_step_on_signal, notify
from transformer_cli.schema import Config, TrainingConfig

if TYPE_CHECKING:
    from transformer_cli.experiment.training import TrainingOutcome
    from transformer_cli.training.loop import StopRequest

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that stop a training; SIGHUP arrives when its terminal is closed."""
EXAMPLES = (
    "transformer-cli train --src my.en --tgt my.de --run runs/mine",
    "transformer-cli train --corpus en-de=my.en,my.de --corpus de-en=my.de,my.en --run runs/many",
    "transformer-cli train --src new.en --tgt new.de --from runs/mine --run runs/adapted",
)
SECTIONS = ", ".join(Config.model_fields)


@schema_options(TrainingConfig, "max_steps", "max_minutes", defaults=False)
def train(
    run: Annotated[
        Path,
        typer.Option("--run", "--run-dir", metavar="DIR", help="Run directory; an existing run is resumed."),
    ],
    src: Src = None,
    tgt: Tgt = None,
    data: Data = None,
    corpus: Annotated[
        list[str] | None,
        value(
            "--corpus",
            "SRC-TGT=FILE,FILE",
            "Corpus with its languages, such as en-de=train.en,train.de or en-de=train.tsv; with + for -, also "
            "the opposite direction. Repeatable: a model of several target languages.",
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Argument(
            metavar="CONFIG",
            help="YAML configuration. Default: a recipe by corpus size, printed with its reasons.",
        ),
    ] = None,
    valid_src: Annotated[
        Path | None,
        value("--valid-src", "FILE", "Validation source. Default: up to 1,000 pairs (at most 5 %) are held out."),
    ] = None,
    valid_tgt: Annotated[Path | None, value("--valid-tgt", "FILE", "Validation target.")] = None,
    valid_data: Annotated[
        Path | None, value("--valid-data", "FILE", "Validation file with both languages, as --data.")
    ] = None,
    valid_corpus: Annotated[
        list[str] | None,
        value("--valid-corpus", "SRC-TGT=FILE,FILE", "Validation corpus, as --corpus; repeatable."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        value(
            "--set",
            "KEY=VALUE",
            f"Set a configuration key; repeatable. Sections: {SECTIONS}; `transformer-cli config` lists the keys.",
        ),
    ] = None,
    overrides: dict[str, Any] | None = None,
    tokenizer: Annotated[
        Path | None,
        value("--tokenizer", "FILE", "A tokenizer from `tokenizer train`. Default: trained on the corpus.", INPUT),
    ] = None,
    starting_model: Annotated[
        Path | None,
        value(
            "--from",
            "MODEL",
            "Start from the weights of this run or bundle, with its architecture and vocabulary, a lower "
            "learning rate and fewer epochs.",
        ),
    ] = None,
    columns: Columns = None,
    data_format: DataFormat = None,
    strict_utf8: StrictUtf8 = False,
    device: Device = "auto",
) -> None:
    """Train a translator: check the text, train tokenizer and model, validate, keep the best.

    The same command on an existing run directory resumes it. Ctrl-C saves first.
    """
    from transformer_cli.experiment.corpora import corpora_settings
    from transformer_cli.experiment.training import TrainRequest, run_training
    from transformer_cli.training.loop import StopRequest

    given = [*corpora_settings(corpus or (), valid_corpus or ()), *(settings or [])]
    given += [f"training.{key}={limit}" for key, limit in (overrides or {}).items()]
    request = TrainRequest(
        run,
        src or (),
        tgt or (),
        valid_src,
        valid_tgt,
        config,
        given,
        tokenizer,
        device,
        strict_utf8,
        data or (),
        valid_data,
        columns,
        data_format,
        starting_model,
    )
    stop = StopRequest()
    exit_on_signal(*STOP_SIGNALS, note=lambda: "; training had not begun")
    outcome = run_training(request, notify, stop, lambda: _handle_signals(stop))
    if outcome.is_main:
        _report(outcome)
    if outcome.interrupted:
        raise typer.Exit(128 + stop.signal)


def _handle_signals(stop: StopRequest) -> None:
    """Finish the step and save at the first SIGINT, SIGTERM or SIGHUP; exit at once at the second.

    Under `torchrun`, which repeats signals and kills after its `--shutdown-timeout`, the second one is ignored.
    """
    launched = "TORCHELASTIC_RUN_ID" in os.environ

    def handle(number: int, _: Any) -> None:
        if stop.signal and launched:
            return
        if stop.signal:
            os.write(2, b"second signal: exiting at once\n")
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        stop.signal = number
        # os.write, because sys.stderr may be in the middle of a write and would raise.
        with contextlib.suppress(OSError):
            os.write(2, b"\nsignal received: finishing the step and saving; a second signal exits at once\n")

    finish_step_on_signal(handle, *STOP_SIGNALS)


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
    notify(f"to continue training: the same command again{more}")
    if progress.step:
        # A run that was stopped before its first validation has no best checkpoint.
        checkpoint = "" if progress.best_score is not None else " --checkpoint last"
        languages = run.load_config().data.target_languages
        checkpoint += f" --to {languages[-1]}" if len(languages) > 1 else ""
        command = f"transformer-cli translate {shlex.quote(str(run.path))}{checkpoint}"
        notify(f"to translate: {command} < new.en > new.de")
