"""`average`: one model from the last checkpoints of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from transformer_cli.cli.terminal import notify

EXAMPLES = (
    "transformer-cli average runs/mine",
    "transformer-cli translate runs/mine --checkpoint average < new.en > new.de",
)


def average(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run directory.")],
    last: Annotated[
        int | None,
        typer.Option(
            "--last", min=1, metavar="N", help="Number of newest checkpoints to average. Default: all kept."
        ),
    ] = None,
) -> None:
    """Average the weights of the newest checkpoints into checkpoints/average."""
    from transformer_cli.experiment.averaging import average_checkpoints

    used, path = average_checkpoints(run, last)
    notify(f"{path}: mean of {', '.join(used)}")
    notify(f"next: transformer-cli evaluate {run} --checkpoint average --src test.en --ref test.de")
