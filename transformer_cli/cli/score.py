"""`score`: the probability of given translations."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated

import typer

from transformer_cli.cli.options import Checkpoint, Columns, DataFormat, Device, Run, To, value
from transformer_cli.cli.terminal import exit_on_signal, notify, print_line

EXAMPLES = (
    "transformer-cli score runs/mine --src test.en --tgt test.de",
    "transformer-cli score runs/mine --src test.en --tgt test.de --format jsonl > scores.jsonl",
)


def score(
    run: Run,
    src: Annotated[Path | None, value("--src", "FILE", "Source text.")] = None,
    tgt: Annotated[Path | None, value("--tgt", "FILE", "Its translations, line by line.")] = None,
    data: Annotated[
        Path | None, value("--data", "FILE", "File with both languages: CSV, TSV, JSON lines or TMX.")
    ] = None,
    format: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="text|jsonl",
            help="text: the log-probability of each line, in nats. jsonl: also that of each token.",
        ),
    ] = "text",
    batch_tokens: Annotated[
        int | None,
        typer.Option(
            "--batch-tokens", metavar="N", help="Tokens of a batch. Default: the run's data.batch_tokens."
        ),
    ] = None,
    columns: Columns = None,
    data_format: DataFormat = None,
    to: To = "",
    checkpoint: Checkpoint = "best",
    device: Device = "auto",
) -> None:
    """Score given translations: log-probability and perplexity of each pair (forced decoding)."""
    import json

    from transformer_cli.cli.formats import check_format
    from transformer_cli.data.readers.corpus_files import CorpusFiles
    from transformer_cli.experiment.scoring import score_files

    check_format(format)
    exit_on_signal(signal.SIGINT)
    files = CorpusFiles.of(src, tgt, data, columns, data_format)
    scored = score_files(run, files, batch_tokens, checkpoint, device, notify, to)
    for pair in scored.pairs:
        as_json = format == "jsonl"
        print_line(json.dumps(pair.fields(), ensure_ascii=False) if as_json else f"{pair.score.log_prob:.6f}")
    notify(f"{len(scored.pairs)} pairs, {scored.num_tokens} tokens, perplexity {scored.perplexity:.3f} per token")
