"""`inspect`: a summary of a run, or the attention weights of a sentence as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from transformer_cli import durable
from transformer_cli.cli.options import Checkpoint, Device, Run, To
from transformer_cli.cli.terminal import notify, print_line

EXAMPLES = (
    "transformer-cli inspect runs/mine",
    'transformer-cli inspect runs/mine "A dog is running." -o attention.png',
)


def inspect(
    run: Run,
    sentence: Annotated[
        str | None,
        typer.Argument(metavar="SENTENCE", help="A source sentence; without it, a summary."),
    ] = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help="The picture: .png, .svg or .pdf.")
    ] = Path("attention.png"),
    target: Annotated[
        str | None,
        typer.Option("--target", metavar="TEXT", help="Its translation. Default: the model's own."),
    ] = None,
    kind: Annotated[
        str,
        typer.Option(
            "--kind",
            metavar="cross|encoder|decoder",
            help="Attention from target to source, or self-attention of the encoder or decoder.",
        ),
    ] = "cross",
    to: To = "",
    checkpoint: Checkpoint = "best",
    device: Device = "auto",
) -> None:
    """Summarize a run, or draw the attention of a sentence as heat maps: a row per layer, a column per head."""
    if sentence is None:
        from transformer_cli.experiment.summary import summarize_run

        for name, text in summarize_run(run, checkpoint):
            print_line(f"{name:<16}{text}")
        return
    from transformer_cli.data.text import decode_argument
    from transformer_cli.experiment.inspection import KINDS, draw_attention

    durable.check_writable(output)
    given = None if target is None else decode_argument(target)
    drawn = draw_attention(run, decode_argument(sentence), output, given, kind, checkpoint, device, to)
    print_line(f"translation: {drawn.translation}")
    print_line(f"alignment: {drawn.alignment}")
    notify(f"{KINDS[kind]}, {drawn.layers} layers x {drawn.heads} heads: {output}")
