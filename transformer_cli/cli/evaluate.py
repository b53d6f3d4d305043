"""`evaluate`: BLEU, chrF and TER that can be trusted."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated

import typer

from transformer_cli.cli.terminal import check_output, exit_on_signal, notify, print_json, print_line


def evaluate(
    run: Annotated[
        Path | None, typer.Argument(metavar="RUN", help="The run directory or a bundle (or give --hyp).")
    ] = None,
    src: Annotated[Path | None, typer.Option("--src", metavar="FILE", help="Source text of the test set.")] = None,
    ref: Annotated[
        list[Path] | None,
        typer.Option("--ref", metavar="FILE", help="Reference translation; may be given several times."),
    ] = None,
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
            help="Where the translations go. Default: RUN/evaluation/NAME.beamN.txt, with the scores beside it.",
        ),
    ] = None,
    beam: Annotated[int | None, typer.Option("--beam", help="Beam width; 1 = greedy. Default: the run's.")] = None,
    length_penalty: Annotated[
        float | None, typer.Option("--length-penalty", help="GNMT alpha, 0 to 10. Default: the run's.")
    ] = None,
    precision: Annotated[
        str | None, typer.Option("--precision", help="fp32 (default), int8 (CPU), bf16 (GPU), fp64.")
    ] = None,
    batch_tokens: Annotated[
        int | None,
        typer.Option("--batch-tokens", help="Source tokens of a batch. Default: the run's."),
    ] = None,
    checkpoint: Annotated[
        str, typer.Option("--checkpoint", help="best, last, average, or a step's directory name.")
    ] = "best",
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or mps.")] = "auto",
    tokenize: Annotated[
        str | None,
        typer.Option(
            "--tokenize",
            help="sacreBLEU's 13a, intl, zh, char or none. Default: 13a; zh for Chinese, char for other scripts "
            "without spaces.",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the scores as JSON.")] = False,
) -> None:
    """Translate a test set and score it, or score a file of translations; sacreBLEU, with signatures."""
    from transformer_cli.errors import ConfigError
    from transformer_cli.evaluation.metrics import TOKENIZERS
    from transformer_cli.experiment.evaluation import evaluate_file, evaluate_run

    if not ref or (run is None) == (hyp is None) or (run is not None and src is None):
        raise ConfigError(
            "evaluate needs a run with --src and --ref, or --hyp and --ref",
            hint="transformer-cli evaluate RUN --src test.en --ref test.de",
        )
    if tokenize is not None and tokenize not in TOKENIZERS:
        raise ConfigError(f"--tokenize {tokenize}: unknown; known: {', '.join(TOKENIZERS)}")
    options = {
        "beam": beam,
        "length_penalty": length_penalty,
        "precision": precision,
        "batch_tokens": batch_tokens,
    }
    exit_on_signal(signal.SIGINT)
    if hyp is not None:
        unused = [key for key, value in {"src": src, "output": output, **options}.items() if value is not None]
        if unused:
            raise ConfigError(f"--{unused[0].replace('_', '-')} is for a run; --hyp is scored as it is")
        if not hyp.name:
            raise ConfigError("--hyp needs a file")
        found = evaluate_file(hyp, ref, tokenize, notify)
    else:
        assert run is not None and src is not None
        check_output(output, run, src, *ref, makes_directory=True)
        found = evaluate_run(run, src, ref, options, output, checkpoint, device, tokenize, notify)
    if json:
        print_json(found.to_json())
        return
    for score in found.scores:
        print_line(str(score))
    for key, value in found.facts.items():
        print_line(f"{key}: {value}")
