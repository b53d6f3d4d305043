"""`score`: how likely a model finds given translations."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated

import typer

from transformer_cli.cli.terminal import exit_on_signal, notify, print_line


def score(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run directory, or a bundle.")],
    src: Annotated[Path, typer.Option("--src", metavar="FILE", help="Source text.")],
    tgt: Annotated[Path, typer.Option("--tgt", metavar="FILE", help="Its translations, line by line.")],
    format: Annotated[
        str,
        typer.Option("--format", help="text (log-probability in nats, a line each) or jsonl (with each piece)."),
    ] = "text",
    batch_tokens: Annotated[
        int | None, typer.Option("--batch-tokens", help="Tokens of a batch. Default: the run's data.batch_tokens.")
    ] = None,
    checkpoint: Annotated[
        str, typer.Option("--checkpoint", help="best, last, average, or a step's directory name.")
    ] = "best",
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or mps.")] = "auto",
) -> None:
    """Log-probability and perplexity of given pairs (forced decoding): one line for each pair."""
    import json

    from transformer_cli.errors import ConfigError
    from transformer_cli.experiment.scoring import score_files

    if format not in ("text", "jsonl"):
        raise ConfigError(f"--format {format}: unknown; known: text, jsonl")
    exit_on_signal(signal.SIGINT)
    found = score_files(run, src, tgt, batch_tokens, checkpoint, device, notify)
    for pair in found.pairs:
        print_line(
            json.dumps(pair.fields(), ensure_ascii=False) if format == "jsonl" else f"{pair.score.log_prob:.6f}"
        )
    notify(f"{len(found.pairs)} pairs, {found.pieces} pieces, perplexity {found.perplexity:.3f} a piece")
