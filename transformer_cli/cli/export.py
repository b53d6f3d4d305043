"""`export`: a trained model for other programs and other people."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from transformer_cli.cli.terminal import notify


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run directory, or a bundle.")],
    output: Annotated[
        Path,
        typer.Argument(metavar="OUTPUT", help="A directory for ctranslate2; model.zip or a directory for bundle."),
    ],
    to: Annotated[str, typer.Option("--to", metavar="FORMAT", help="ctranslate2 or bundle.")],
    quantization: Annotated[
        str | None,
        typer.Option(
            "--quantization",
            help="Of ctranslate2: float32 (default), float16, bfloat16, int16, int8, int8_float32, "
            "int8_float16, int8_bfloat16.",
        ),
    ] = None,
    checkpoint: Annotated[
        str, typer.Option("--checkpoint", help="best, last, average, or a step's directory name.")
    ] = "best",
    proof: Annotated[
        Path | None,
        typer.Option(
            "--proof",
            metavar="FILE",
            help="Source text that ctranslate2 must translate as we do. Default: the run's validation text.",
        ),
    ] = None,
) -> None:
    """Write a model for CTranslate2 (proved on 100 lines), or as one self-contained, verified bundle."""
    from transformer_cli.deployment.export import ExportRequest, export_model

    export_model(ExportRequest(run, output, to, quantization, checkpoint, proof), notify)
