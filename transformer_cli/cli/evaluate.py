"""`evaluate`: BLEU, chrF and TER that can be trusted."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from transformer_cli.cli.output import check_output, print_json, say, tell


def evaluate(
    run: Annotated[
        Path | None, typer.Argument(metavar="RUN", help="The run directory or a bundle (or give --hyp).")
    ] = None,
    src: Annotated[Path | None, typer.Option("--src", metavar="FILE", help="Source text of the test set.")] = None,
    ref: Annotated[Path | None, typer.Option("--ref", metavar="FILE", help="Reference translation.")] = None,
    hyp: Annotated[
        Path | None,
        typer.Option("--hyp", metavar="FILE", help="Score this file of translations instead of a run."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="Where the translations go. Default: RUN/evaluation/NAME.beamN.txt.",
        ),
    ] = None,
    beam: Annotated[int | None, typer.Option("--beam", help="Beam width; 1 = greedy. Default: the run's.")] = None,
    batch_tokens: Annotated[
        int | None,
        typer.Option("--batch-tokens", help="Source tokens of a batch. Default: the run's."),
    ] = None,
    checkpoint: Annotated[
        str, typer.Option("--checkpoint", help="best, last, average, or a step's directory name.")
    ] = "best",
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or mps.")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="Print the scores as JSON.")] = False,
) -> None:
    """Translate a test set and score it, or score a file of translations; sacreBLEU, with signatures."""
    from transformer_cli.data.corpus import read_parallel
    from transformer_cli.errors import ConfigError
    from transformer_cli.evaluation.metrics import corpus_scores
    from transformer_cli.experiment.evaluation import evaluate_run

    if ref is None or (run is None) == (hyp is None) or (run is not None and src is None):
        raise ConfigError(
            "evaluate needs a run with --src and --ref, or --hyp and --ref",
            hint="transformer-cli evaluate RUN --src test.en --ref test.de",
        )
    if output is not None and output.parent.is_dir():
        check_output(output, src, ref)
    if hyp is not None:
        if not hyp.name:
            raise ConfigError("--hyp needs a file")
        pairs = read_parallel([hyp], [ref])
        hypotheses, references, details = pairs.src, pairs.tgt, {"hypotheses": str(hyp)}
    else:
        assert run is not None and src is not None
        overrides = {"beam": beam, "batch_tokens": batch_tokens}
        hypotheses, references, details = evaluate_run(run, src, ref, overrides, output, checkpoint, device, say)
    scores = corpus_scores(hypotheses, references)
    if json:
        print_json({"scores": [asdict(score) for score in scores], "lines": len(references), **details})
        return
    for score in scores:
        tell(str(score))
    for key, value in details.items():
        tell(f"{key}: {value}")
