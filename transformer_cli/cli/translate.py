"""`translate`: lines in, as many lines out, in order."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path
from typing import Annotated

import typer

from transformer_cli import durable
from transformer_cli.cli.terminal import check_output, exit_on_signal, notify, require_file, write_stdout

CHUNK = 4096
"""Lines translated at a time from a file; a terminal or pipe gives what it has."""
SEARCH, SAMPLING, CONTROL = "How to search", "Sampling", "What a translation must be like"


def translate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run directory, or a bundle.")],
    input: Annotated[
        Path | None, typer.Argument(metavar="INPUT", help="Text, one sentence a line. Default: stdin (-).")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Default: stdout (-).")
    ] = None,
    format: Annotated[
        str,
        typer.Option(
            "--format",
            help="text, or jsonl: source, translation, score, token_log_probs, status, seconds.",
        ),
    ] = "text",
    n_best: Annotated[
        int,
        typer.Option(
            "--n-best",
            min=1,
            metavar="N",
            help="The N best of each line, distinct, best first; as text: 'line from 0 ||| text ||| score'.",
        ),
    ] = 1,
    alignments: Annotated[
        Path | None,
        typer.Option("--alignments", metavar="FILE", help="Word alignments by attention, Pharaoh format."),
    ] = None,
    strict_utf8: Annotated[bool, typer.Option("--strict-utf8", help="Refuse text that is not UTF-8.")] = False,
    check_invariance: Annotated[
        bool,
        typer.Option(
            "--check-invariance",
            help="Instead of translating, measure on INPUT whether the batch changes any translation.",
        ),
    ] = False,
    checkpoint: Annotated[
        str, typer.Option("--checkpoint", help="best, last, average, or a step's directory name.")
    ] = "best",
    ensemble: Annotated[
        list[str] | None,
        typer.Option(
            "--ensemble",
            metavar="RUN[@CHECKPOINT]",
            help="Another model with the same vocabularies; probabilities are averaged. Repeatable.",
        ),
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or mps.")] = "auto",
    beam: Annotated[
        int | None,
        typer.Option("--beam", help="Beam width; 1 = greedy. Default: the run's.", rich_help_panel=SEARCH),
    ] = None,
    length_penalty: Annotated[
        float | None,
        typer.Option("--length-penalty", help="GNMT alpha, 0 to 10. Default: the run's.", rich_help_panel=SEARCH),
    ] = None,
    coverage_penalty: Annotated[
        float | None,
        typer.Option("--coverage-penalty", help="GNMT beta; 0 = off. Default: the run's.", rich_help_panel=SEARCH),
    ] = None,
    diversity_groups: Annotated[
        int | None,
        typer.Option(
            "--diversity-groups",
            help="Diverse beam search: groups of beams that avoid each other's words (default 1 = off).",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    diversity_strength: Annotated[
        float | None,
        typer.Option(
            "--diversity-strength",
            help="Nats a piece loses for each beam of an earlier group that says it (default 0.5).",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    mbr_samples: Annotated[
        int | None,
        typer.Option(
            "--mbr-samples",
            metavar="N",
            help="Minimum Bayes risk: of N samples the one most like the others by chrF (default 0 = off).",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    batch_tokens: Annotated[
        int | None,
        typer.Option(
            "--batch-tokens",
            help="Source pieces of a batch. Default: the run's, or 8,192 (GPU: 16,384) shared by the beams.",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option("--precision", help="fp32 (default), int8 (CPU), bf16 (GPU), fp64.", rich_help_panel=SEARCH),
    ] = None,
    shortlist: Annotated[
        int | None,
        typer.Option(
            "--shortlist",
            metavar="N",
            help="Search only among the N likeliest target pieces of each source piece (default 0 = among all).",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option("--threads", help="CPU workers; 0 (default) = one a core.", rich_help_panel=SEARCH),
    ] = None,
    sample: Annotated[
        bool | None,
        typer.Option("--sample", help="Draw translations instead of searching.", rich_help_panel=SAMPLING),
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option("--temperature", help="Below 1 safer, above 1 wilder (default 1).", rich_help_panel=SAMPLING),
    ] = None,
    top_k: Annotated[
        int | None,
        typer.Option("--top-k", help="Only the k likeliest pieces (default 0 = all).", rich_help_panel=SAMPLING),
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(
            "--top-p",
            help="Only the likeliest pieces of this total share (default 1).",
            rich_help_panel=SAMPLING,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option("--seed", help="The same seed draws the same text (default 1).", rich_help_panel=SAMPLING),
    ] = None,
    max_length_ratio: Annotated[
        float | None,
        typer.Option(
            "--max-length-ratio",
            help="Most pieces per source piece, plus 10 (the run's).",
            rich_help_panel=CONTROL,
        ),
    ] = None,
    min_length_ratio: Annotated[
        float | None,
        typer.Option(
            "--min-length-ratio", help="Fewest pieces per source piece (default 0).", rich_help_panel=CONTROL
        ),
    ] = None,
    no_repeat_ngram: Annotated[
        int | None,
        typer.Option(
            "--no-repeat-ngram", help="No N pieces in a row twice (default 0 = allowed).", rich_help_panel=CONTROL
        ),
    ] = None,
    repetition_penalty: Annotated[
        float | None,
        typer.Option(
            "--repetition-penalty",
            help="Factor on the log-probability of pieces already said (default 1 = none).",
            rich_help_panel=CONTROL,
        ),
    ] = None,
    prefix: Annotated[
        Path | None,
        typer.Option(
            "--prefix",
            metavar="FILE",
            help="What each translation begins with, a line for each line; a blank line asks for nothing.",
            rich_help_panel=CONTROL,
        ),
    ] = None,
    terms: Annotated[
        Path | None,
        typer.Option(
            "--terms",
            metavar="FILE",
            help="Lines 'source TAB target': where the source term stands, the target must appear (needs a beam).",
            rich_help_panel=CONTROL,
        ),
    ] = None,
    avoid: Annotated[
        Path | None,
        typer.Option(
            "--avoid",
            metavar="FILE",
            help="Phrases, one a line, that no translation holds as words or as the beginning of a word.",
            rich_help_panel=CONTROL,
        ),
    ] = None,
) -> None:
    """Translate text line by line: one output line for each input line, in order, always."""
    from transformer_cli.cli.formats import FORMATS, render
    from transformer_cli.errors import ConfigError
    from transformer_cli.experiment.translation import (
        TranslationJob,
        build_request,
        measure_invariance,
        translate_lines,
    )

    if format not in FORMATS:
        raise ConfigError(f"--format {format}: unknown; known: {', '.join(FORMATS)}")
    input, output = (None if str(path) == "-" else path for path in (input, output))
    read = [run, input or Path("/dev/stdin"), terms, avoid, prefix]
    read += [Path(name) for other in ensemble or [] for name in (other, other.rpartition("@")[0]) if name]
    check_output(output, *read, alignments)
    check_output(alignments, *read, output)
    overrides = {
        "beam": beam,
        "length_penalty": length_penalty,
        "coverage_penalty": coverage_penalty,
        "diversity_groups": diversity_groups,
        "diversity_strength": diversity_strength,
        "mbr_samples": mbr_samples,
        "batch_tokens": batch_tokens,
        "precision": precision,
        "shortlist": shortlist,
        "threads": threads,
        "sample": sample,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "seed": seed,
        "max_length_ratio": max_length_ratio,
        "min_length_ratio": min_length_ratio,
        "no_repeat_ngram": no_repeat_ngram,
        "repetition_penalty": repetition_penalty,
    }
    scored = format == "jsonl" or n_best > 1
    request = build_request(terms, avoid, notify, n_best=n_best, scored=scored, align=alignments is not None)
    job = TranslationJob(
        run,
        checkpoint,
        ensemble or [],
        device,
        overrides,
        request,
        None if input is None else require_file(input),
        prefix,
        strict_utf8,
    )
    outputs: list[durable.OutputFile] = []

    def done() -> str:
        places = [str(o.partial) for o in outputs if o.started and o.regular]
        return f"; what was done is in {' and '.join(places)}" if places else ""

    exit_on_signal(signal.SIGINT, note=done)
    if check_invariance:
        measure_invariance(job, notify)
        return
    with contextlib.ExitStack() as files:
        write, align = write_stdout, None
        if output is not None:
            outputs.append(files.enter_context(durable.open_output(output)))
            write = outputs[0].write
        if alignments is not None:
            outputs.append(files.enter_context(durable.open_output(alignments)))
            align = outputs[-1].write
        for first, sources, translations in translate_lines(job, CHUNK, notify):
            write(render(sources, translations, format, n_best, first))
            if align is not None:
                align(render(sources, translations, "pharaoh", 1, first))
