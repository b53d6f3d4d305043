"""`tokenizer train`: learn a vocabulary from text files."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterable
from itertools import chain, count
from pathlib import Path
from typing import Annotated, Any

import typer

from transformer_cli import durable
from transformer_cli.cli.options import Columns, Command, Data, DataFormat, Group, examples, schema_options, switch
from transformer_cli.cli.terminal import exit_on_signal, notify
from transformer_cli.schema import TokenizerConfig

app = typer.Typer(cls=Group, no_args_is_help=True)
EXAMPLES = (
    "transformer-cli tokenizer train --input my.en my.de --vocab-size 4000 --output my.model",
    "transformer-cli train --tokenizer my.model --src my.en --tgt my.de --run runs/tokenized",
)


@app.callback()
def tokenizer() -> None:
    """Train a tokenizer separately (train does it for you)."""


@app.command("train", cls=Command, epilog=examples(*EXAMPLES))
@schema_options(TokenizerConfig, "vocab_size", "model_type", "character_coverage", "max_lines")
def train(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The SentencePiece model to write.")
    ],
    input: Annotated[
        list[Path] | None, typer.Option("--input", metavar="FILE", help="Text file; several may be given.")
    ] = None,
    data: Data = None,
    overrides: dict[str, Any] | None = None,
    no_byte_fallback: Annotated[
        bool, switch("--no-byte-fallback", "Map unknown characters to <unk> instead of bytes.")
    ] = False,
    columns: Columns = None,
    data_format: DataFormat = None,
) -> None:
    """Learn a SentencePiece vocabulary from one or more text files."""
    from transformer_cli.config import validate_config
    from transformer_cli.data.corpus import read_corpus
    from transformer_cli.data.readers.corpus_files import CorpusFiles
    from transformer_cli.data.text import stream_text
    from transformer_cli.data.tokenizer import train_tokenizer

    values = {**(overrides or {}), **({"byte_fallback": False} if no_byte_fallback else {})}
    config = validate_config({"tokenizer": values}, "tokenizer train").tokenizer
    exit_on_signal(signal.SIGINT)
    durable.check_writable(output, *(input or ()), *(data or ()), create_parents=True)
    sides: list[Iterable[str]] = [stream_text(path, notify) for path in input or ()]
    if data or not input:
        files = CorpusFiles(data=data or (), columns=columns, form=data_format)
        text = read_corpus(files, directory=Path(tempfile.gettempdir()))
        for message in [*text.forms, *(f"warning: {note}" for note in text.notes)]:
            notify(message)
        sides += [text.src, text.tgt]
    read = count(1)  # its next value tells how many lines were read
    lines = (line for line, _ in zip(chain.from_iterable(sides), read, strict=False))
    model, notes = train_tokenizer(lines, config)
    for note in notes:
        notify(f"note: {note}")
    durable.write_output(output, model.model)
    notify(f"{output}: {config.model_type}, {model.vocab_size} tokens from {next(read) - 1:,} lines")
