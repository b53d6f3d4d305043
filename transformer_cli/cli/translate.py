"""`translate`: lines in, as many lines out, in order."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from transformer_cli.cli.output import check_output, existing, say, write_output, write_stdout

CHUNK = 4096
"""Lines translated at a time from a file; a terminal or pipe gives what it has."""


def translate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run directory.")],
    input: Annotated[
        Path | None,
        typer.Argument(metavar="INPUT", help="Text, one sentence a line. Default: stdin."),
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="Default: stdout.")] = None,
    beam: Annotated[int | None, typer.Option("--beam", help="Beam width; 1 = greedy. Default: the run's.")] = None,
    batch_tokens: Annotated[
        int | None,
        typer.Option("--batch-tokens", help="Source tokens of a batch. Default: the run's."),
    ] = None,
    length_penalty: Annotated[
        float | None, typer.Option("--length-penalty", help="GNMT alpha. Default: the run's.")
    ] = None,
    format: Annotated[str, typer.Option("--format", help="text or jsonl.")] = "text",
    checkpoint: Annotated[
        str, typer.Option("--checkpoint", help="best, last, average, or a step's directory name.")
    ] = "best",
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or mps.")] = "auto",
    strict_utf8: Annotated[bool, typer.Option("--strict-utf8", help="Refuse text that is not UTF-8.")] = False,
) -> None:
    """Translate text line by line: one output line for each input line, in order, always."""
    from tqdm import tqdm

    from transformer_cli.cli.lines import chunks, render
    from transformer_cli.data.text import LineReport, iter_lines, read_lines
    from transformer_cli.errors import ConfigError
    from transformer_cli.experiment.inference import load_run
    from transformer_cli.runtime import pick_device, tune_process

    if format not in ("text", "jsonl"):
        raise ConfigError(f"--format {format}: unknown; known: text, jsonl")
    check_output(output)
    tune_process()
    report = LineReport()
    if input is not None:
        lines, report = read_lines(existing(input), strict_utf8=strict_utf8)
        source = iter(lines)
    else:
        source = iter_lines(sys.stdin.buffer, report, strict_utf8=strict_utf8)
    loaded = load_run(run, pick_device(device), checkpoint)
    translator = loaded.translator({"beam": beam, "batch_tokens": batch_tokens, "length_penalty": length_penalty})
    written = bytearray()
    split = 0
    with tqdm(desc="translate", unit="line", disable=None, file=sys.stderr) as bar:
        for chunk in chunks(source, CHUNK, eager=input is None):
            translations = translator.translate(chunk, bar.update)
            split += sum(t.status == "split" for t in translations)
            content = render(chunk, translations, format)
            if output is None:
                write_stdout(content)
            else:
                written += content
    if output is not None:
        write_output(output, bytes(written))
    for message in report.messages(str(input or "stdin")):
        say(f"warning: {message}")
    if split:
        say(f"note: {split} lines were longer than the model was trained for and were translated in pieces")
