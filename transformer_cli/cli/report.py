"""`report`: one HTML file that shows how good a run is, and what it gets wrong."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated, Any

import typer

from transformer_cli.cli.options import Checkpoint, Device, schema_options, value
from transformer_cli.cli.terminal import exit_on_signal, notify, print_line
from transformer_cli.schema import DecodingConfig
from transformer_cli.schema.evaluation import MetricsConfig

EXAMPLES = (
    "transformer-cli report runs/mine",
    "transformer-cli report runs/mine --src test.en --ref test.de -o report.html",
)


@schema_options(DecodingConfig, "beam", "length_penalty", "precision", "batch_tokens")
@schema_options(MetricsConfig, *MetricsConfig.model_fields, parameter="metrics")
def report(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN [OTHER]", help="Run directory; two are put beside each other.")
    ],
    src: Annotated[
        Path | None, value("--src", "FILE", "Source text of the test set. Default: the run's validation set.")
    ] = None,
    ref: Annotated[
        list[Path] | None, value("--ref", "FILE", "Reference translation; repeat it for several references.")
    ] = None,
    output: Annotated[Path | None, value("-o", "FILE", "The report. Default: RUN/report.html.")] = None,
    overrides: dict[str, Any] | None = None,
    metrics: dict[str, Any] | None = None,
    checkpoint: Checkpoint = "best",
    device: Device = "auto",
) -> None:
    """Write a report: learning curves, scores, failures with examples, best and worst sentences, attention.

    The report is one HTML file that opens without a network. Decoding options not given here come from the run's
    config.yaml; the defaults shown are those of a new configuration.
    """
    from transformer_cli.errors import ConfigError
    from transformer_cli.experiment.report import ReportRequest, write_report
    from transformer_cli.experiment.test_sets import TestSet

    if (src is None) != (not ref):
        raise ConfigError("--src and --ref must be given together")
    exit_on_signal(signal.SIGINT)
    test_set = None if src is None else TestSet(src.name, src, ref or [])
    request = ReportRequest(runs, test_set, overrides or {}, metrics or {}, output, checkpoint, device)
    print_line(str(write_report(request, notify)))
