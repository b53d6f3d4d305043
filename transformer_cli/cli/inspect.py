"""`inspect`: a picture of where a model looks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from transformer_cli.cli.terminal import check_output, notify, print_line


def inspect(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run directory, or a bundle.")],
    sentence: Annotated[str, typer.Argument(metavar="SENTENCE", help="A source sentence.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help="The picture: .png, .svg or .pdf.")
    ] = Path("attention.png"),
    target: Annotated[
        str | None,
        typer.Option("--target", help="Its translation. Default: the model's own."),
    ] = None,
    kind: Annotated[
        str, typer.Option("--kind", help="cross (target to source), encoder or decoder (self-attention).")
    ] = "cross",
    checkpoint: Annotated[
        str, typer.Option("--checkpoint", help="best, last, average, or a step's directory name.")
    ] = "best",
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or mps.")] = "auto",
) -> None:
    """Attention weights of one sentence as heat maps: a row for each layer, a column for each head."""
    from transformer_cli.data.text import decode_argument
    from transformer_cli.experiment.inspection import KINDS, draw_attention

    check_output(output)
    given = None if target is None else decode_argument(target)
    facts = draw_attention(run, decode_argument(sentence), output, given, kind, checkpoint, device)
    print_line(f"translation: {facts.translation}")
    print_line(f"alignment: {facts.alignment}")
    notify(f"{KINDS[kind]}, {facts.layers} layers x {facts.heads} heads: {output}")
