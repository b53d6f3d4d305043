"""`check`: the corpus doctor."""

from __future__ import annotations

import signal
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from transformer_cli.cli.terminal import exit_on_signal, print_json, print_line


def check(
    src: Annotated[
        list[Path],
        typer.Option("--src", metavar="FILE", help="Source text; may be given several times."),
    ],
    tgt: Annotated[list[Path], typer.Option("--tgt", metavar="FILE", help="Target text, in the same order.")],
    against_src: Annotated[
        Path | None,
        typer.Option(
            "--against-src",
            metavar="FILE",
            help="Source text that must not occur here (a test set).",
        ),
    ] = None,
    against_tgt: Annotated[
        Path | None, typer.Option("--against-tgt", metavar="FILE", help="Its target text.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Look for what spoils training: misaligned, blank, repeated or damaged lines, test text in training text."""
    from transformer_cli.data.corpus import CorpusReport, check_corpus, read_parallel
    from transformer_cli.errors import ConfigError

    if (against_src is None) != (against_tgt is None):
        raise ConfigError("--against-src and --against-tgt go together")
    exit_on_signal(signal.SIGINT)
    other = read_parallel([against_src], [against_tgt]) if against_src and against_tgt else None
    text = read_parallel(src, tgt)
    report: CorpusReport = check_corpus(text, other)
    if json:
        print_json(asdict(report))
        return
    print_line(f"{report.pairs:,} pairs")
    for side, words, types, longest in zip(
        ("source", "target"), report.words, report.types, report.longest, strict=True
    ):
        print_line(f"{side}: {words:,} words, {types:,} different, longest in line {longest}")
    for note in report.notes:
        print_line(f"- {note}")
    for finding in report.findings:
        places = finding.lines if len(src) == 1 else [text.place(line - 1) for line in finding.lines]
        lines = ", ".join(map(str, places)) + (", ..." if finding.count > len(finding.lines) else "")
        print_line(f"- {finding.kind}: {finding.count:,} (lines {lines}): {finding.advice}")
    if not report.findings and not report.notes:
        print_line("nothing wrong was found")
