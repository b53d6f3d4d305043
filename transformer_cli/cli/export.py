"""`export`: a trained model for other programs and other people."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from transformer_cli.cli.options import Checkpoint, Run
from transformer_cli.cli.terminal import notify

EXAMPLES = (
    "transformer-cli export runs/mine model.zip --to bundle",
    "transformer-cli export runs/mine model-ct2 --to ctranslate2 --quantization int8",
)


def export(
    run: Run,
    output: Annotated[
        Path,
        typer.Argument(
            metavar="OUTPUT", help="model.zip or a new directory for a bundle, a new directory for ctranslate2."
        ),
    ],
    to: Annotated[str, typer.Option("--to", metavar="bundle|ctranslate2", help="Format of the exported model.")],
    quantization: Annotated[
        str | None,
        typer.Option(
            "--quantization",
            metavar="TYPE",
            help="Weights of a ctranslate2 export: float32 (default), float16, bfloat16, int16, int8, "
            "int8_float32, int8_float16 or int8_bfloat16.",
        ),
    ] = None,
    checkpoint: Checkpoint = "best",
    proof: Annotated[
        Path | None,
        typer.Option(
            "--proof",
            metavar="FILE",
            help="Source text for the comparison of a ctranslate2 export with this program. Default: the run's "
            "validation text.",
        ),
    ] = None,
) -> None:
    """Export a model: as one self-contained, verified bundle, or for CTranslate2 (checked on 100 lines)."""
    from transformer_cli.deployment.export import ExportRequest, export_model

    export_model(ExportRequest(run, output, to, quantization, checkpoint, proof), notify)
