"""`evaluate`: BLEU, chrF, chrF++ and TER with intervals and signatures."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated, Any

import typer

from transformer_cli import durable
from transformer_cli.cli.options import (
    INPUT,
    OUTPUT,
    Checkpoint,
    Columns,
    DataFormat,
    Device,
    Json,
    To,
    schema_options,
    value,
)
from transformer_cli.cli.terminal import exit_on_signal, notify, print_json, print_line
from transformer_cli.schema import DecodingConfig
from transformer_cli.schema.evaluation import MetricsConfig

EXAMPLES = (
    "transformer-cli evaluate runs/mine --src test.en --ref test.de",
    "transformer-cli evaluate --hyp translations.de --ref test.de",
)


@schema_options(DecodingConfig, "beam", "length_penalty", "precision", "batch_tokens", "engine")
@schema_options(MetricsConfig, *MetricsConfig.model_fields, parameter="metrics")
def evaluate(
    run: Annotated[
        Path | None, typer.Argument(metavar="RUN", help="Run directory, or a bundle; not with --hyp.")
    ] = None,
    src: Annotated[
        list[Path] | None, value("--src", "FILE", "Source text of the test set; repeat it for several test sets.")
    ] = None,
    ref: Annotated[
        list[Path] | None,
        value(
            "--ref",
            "FILE",
            "Reference translation; repeat it for several. Several test sets share them out in their order.",
        ),
    ] = None,
    data: Annotated[
        list[Path] | None,
        value("--data", "FILE", "Test set with source and reference: CSV, TSV, JSON lines, TMX. Repeatable."),
    ] = None,
    test_set: Annotated[
        list[str] | None,
        value(
            "--test-set", "NAME", "Test set of sacreBLEU's catalogue on this disk, such as wmt14/full. Repeatable."
        ),
    ] = None,
    langpair: Annotated[
        str | None, value("--langpair", "SRC-TGT", "Language pair of --test-set, such as en-de.", INPUT)
    ] = None,
    hyp: Annotated[
        list[Path] | None,
        value(
            "--hyp", "FILE", "Score this file of translations instead of a run. Repeatable, with the test sets."
        ),
    ] = None,
    overrides: dict[str, Any] | None = None,
    metrics: dict[str, Any] | None = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="Translations to write. Default: RUN/evaluation/NAME.beamN.txt, and the scores in .json.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    columns: Columns = None,
    data_format: DataFormat = None,
    json: Json = False,
    to: To = "",
    checkpoint: Checkpoint = "best",
    device: Device = "auto",
) -> None:
    """Translate test sets and score them, or score translations: BLEU, chrF, chrF++, TER (sacreBLEU).

    Decoding options not given here come from the run's config.yaml; the defaults shown are those of a new
    configuration.
    """
    from transformer_cli.errors import ConfigError
    from transformer_cli.experiment.evaluation import EvaluationRequest, evaluate_files, evaluate_run
    from transformer_cli.experiment.test_sets import TestSetOptions

    given = overrides or {}
    if (run is None) == (not hyp):
        raise ConfigError(
            "evaluate needs a run with --src and --ref, --data or --test-set, or --hyp and --ref",
            hint="transformer-cli evaluate RUN --src test.en --ref test.de",
        )
    options = TestSetOptions(
        src or [], ref or [], data or [], test_set or [], hyp or [], langpair, columns, data_format
    )
    test_sets = options.test_sets()
    exit_on_signal(signal.SIGINT)
    if run is None:
        needs_run = {"output": output, "to": to or None, **given}
        unused = [name for name, value in needs_run.items() if value is not None]
        if unused:
            raise ConfigError(f"--{unused[0].replace('_', '-')} needs a run; --hyp only scores translations")
        evaluations = evaluate_files(test_sets, metrics or {}, notify)
    else:
        read = [path for one in test_sets for path in one.paths]
        durable.check_writable(output, run, *read, create_parents=True)
        request = EvaluationRequest(run, test_sets, given, output, checkpoint, device, metrics or {}, to)
        evaluations = evaluate_run(request, notify)
    if json:
        results = [evaluation.to_json() for evaluation in evaluations]
        print_json(results[0] if len(test_sets) == 1 else {"test_sets": results})
        return
    for number, evaluation in enumerate(evaluations):
        if number:
            print_line("")
        for score in evaluation.scores:
            print_line(str(score))
        for key, fact in evaluation.facts.items():
            print_line(f"{key}: {fact}")
