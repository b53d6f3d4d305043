"""`tokenizer train`: learn a vocabulary from text files."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated

import typer

from transformer_cli.cli.terminal import check_output, exit_on_signal, notify

app = typer.Typer(help="Train a tokenizer by itself (train does it for you).", no_args_is_help=True)


@app.callback()
def tokenizer() -> None:
    """Train a tokenizer by itself (train does it for you)."""


@app.command("train")
def train(
    input: Annotated[
        list[Path],
        typer.Option("--input", metavar="FILE", help="Text file; may be given several times."),
    ],
    output: Annotated[Path, typer.Option("--output", metavar="FILE", help="Where the model goes.")],
    vocab_size: Annotated[int | None, typer.Option("--vocab-size", help="Pieces. Default: 8000.")] = None,
    model_type: Annotated[
        str | None, typer.Option("--model-type", help="unigram, bpe or char. Default: unigram.")
    ] = None,
    no_byte_fallback: Annotated[
        bool,
        typer.Option("--no-byte-fallback", help="Unknown characters become <unk> instead of bytes."),
    ] = False,
) -> None:
    """Learn a SentencePiece vocabulary from one or more text files."""
    from transformer_cli import durable
    from transformer_cli.config import validate_config
    from transformer_cli.data.text import read_lines
    from transformer_cli.data.tokenizer import train_tokenizer

    given = {
        "vocab_size": vocab_size,
        "model_type": model_type,
        "byte_fallback": False if no_byte_fallback else None,
    }
    values = {key: value for key, value in given.items() if value is not None}
    config = validate_config({"tokenizer": values}, "tokenizer train").tokenizer
    exit_on_signal(signal.SIGINT)
    check_output(output, *input, makes_directory=True)
    lines: list[str] = []
    for path in input:
        found, report = read_lines(path, reject_binary=True)
        lines += found
        for message in report.messages(str(path)):
            notify(f"warning: {message}")
    model, notes = train_tokenizer(lines, config)
    for note in notes:
        notify(f"note: {note}")
    durable.write_output(output, model.model)
    notify(f"{output}: {config.model_type}, {model.vocab_size} pieces from {len(lines):,} lines")
