"""`evaluate`: BLEU, chrF and TER with signatures."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated, Any

import typer

from transformer_cli import durable
from transformer_cli.cli.options import OUTPUT, Checkpoint, Columns, DataFormat, Device, Json, schema_options
from transformer_cli.cli.terminal import exit_on_signal, notify, print_json, print_line
from transformer_cli.schema import DecodingConfig

EXAMPLES = (
    "transformer-cli evaluate runs/mine --src test.en --ref test.de",
    "transformer-cli evaluate --hyp translations.de --ref test.de",
)


@schema_options(DecodingConfig, "beam", "length_penalty", "precision", "batch_tokens", "engine")
def evaluate(
    run: Annotated[
        Path | None, typer.Argument(metavar="RUN", help="Run directory, or a bundle; not with --hyp.")
    ] = None,
    src: Annotated[Path | None, typer.Option("--src", metavar="FILE", help="Source text of the test set.")] = None,
    ref: Annotated[
        list[Path] | None,
        typer.Option("--ref", metavar="FILE", help="Reference translation; repeat it for several references."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", metavar="FILE", help="Test set with source and reference: CSV, TSV, JSON lines, TMX."
        ),
    ] = None,
    hyp: Annotated[
        Path | None,
        typer.Option("--hyp", metavar="FILE", help="Score this file of translations instead of a run."),
    ] = None,
    overrides: dict[str, Any] | None = None,
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
    tokenize: Annotated[
        str | None,
        typer.Option(
            "--tokenize",
            metavar="13a|intl|zh|char|none",
            help="sacreBLEU's tokenizer. Default: 13a; zh for Chinese, char for other scripts without spaces.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    columns: Columns = None,
    data_format: DataFormat = None,
    json: Json = False,
    checkpoint: Checkpoint = "best",
    device: Device = "auto",
) -> None:
    """Translate a test set and score it, or score a file of translations: BLEU, chrF, TER (sacreBLEU).

    Decoding options not given here come from the run's config.yaml; the defaults shown are those of a new
    configuration.
    """
    from transformer_cli.data.readers.corpus_files import CorpusFiles
    from transformer_cli.errors import ConfigError
    from transformer_cli.evaluation.metrics import TOKENIZERS
    from transformer_cli.experiment.evaluation import EvaluationRequest, evaluate_file, evaluate_run

    files = CorpusFiles(data=[data], columns=columns, form=data_format) if data is not None else None
    if files is not None and (ref or src is not None or run is None):
        raise ConfigError("--data has both sides of the test set: it excludes --src, --ref and --hyp")
    if files is None and (not ref or (run is None) == (hyp is None) or (run is not None and src is None)):
        raise ConfigError(
            "evaluate needs a run with --src and --ref or --data, or --hyp and --ref",
            hint="transformer-cli evaluate RUN --src test.en --ref test.de",
        )
    if tokenize is not None and tokenize not in TOKENIZERS:
        raise ConfigError(f"--tokenize {tokenize}: unknown tokenizer", hint=f"choose from {', '.join(TOKENIZERS)}")
    given = overrides or {}
    exit_on_signal(signal.SIGINT)
    if hyp is not None:
        unused = [name for name, value in {"src": src, "output": output, **given}.items() if value is not None]
        if unused:
            raise ConfigError(f"--{unused[0].replace('_', '-')} needs a run; --hyp only scores translations")
        if not hyp.name:
            raise ConfigError("--hyp needs a file")
        assert ref
        evaluation = evaluate_file(hyp, ref, tokenize, notify)
    else:
        test = src or data
        assert run is not None and test is not None
        durable.check_writable(output, run, test, *(ref or ()), create_parents=True)
        request = EvaluationRequest(run, test, ref or [], given, output, checkpoint, device, tokenize, files)
        evaluation = evaluate_run(request, notify)
    if json:
        print_json(evaluation.to_json())
        return
    for score in evaluation.scores:
        print_line(str(score))
    for key, value in evaluation.facts.items():
        print_line(f"{key}: {value}")
