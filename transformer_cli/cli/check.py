"""`check`: the corpus doctor."""

from __future__ import annotations

import signal
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from transformer_cli.cli.options import Columns, Data, DataFormat, Json, Src, Tgt
from transformer_cli.cli.terminal import exit_on_signal, notify, print_json, print_line

EXAMPLES = (
    "transformer-cli check --src my.en --tgt my.de",
    "transformer-cli check --src my.en --tgt my.de --against-src test.en --against-tgt test.de",
)


def check(
    src: Src = None,
    tgt: Tgt = None,
    data: Data = None,
    against_src: Annotated[
        Path | None,
        typer.Option(
            "--against-src", metavar="FILE", help="Source of a test set, whose text must not occur in the corpus."
        ),
    ] = None,
    against_tgt: Annotated[
        Path | None, typer.Option("--against-tgt", metavar="FILE", help="Target of that test set.")
    ] = None,
    columns: Columns = None,
    data_format: DataFormat = None,
    json: Json = False,
) -> None:
    """Check a corpus: misaligned, blank, repeated or damaged lines, and test text in the training text."""
    from transformer_cli.data.corpus import CorpusReport, check_corpus, read_corpus, read_parallel
    from transformer_cli.data.readers.corpus_files import CorpusFiles
    from transformer_cli.errors import ConfigError

    if (against_src is None) != (against_tgt is None):
        raise ConfigError("--against-src and --against-tgt must be given together")
    exit_on_signal(signal.SIGINT)
    other = read_parallel([against_src], [against_tgt]) if against_src and against_tgt else None
    text = read_corpus(CorpusFiles(src or (), tgt or (), data or (), columns, data_format))
    for form in text.forms:
        notify(form)
    report: CorpusReport = check_corpus(text, other)
    if json:
        print_json(asdict(report))
        return
    print_line(f"{report.pairs:,} pairs")
    for side, words, types, longest in zip(
        ("source", "target"), report.words, report.types, report.longest, strict=True
    ):
        print_line(f"{side}: {words:,} words, {types:,} different; longest: line {longest}")
    for note in report.notes:
        print_line(f"- {note}")
    for finding in report.findings:
        places = finding.lines if len(text.files) == 1 else [text.location(line - 1) for line in finding.lines]
        lines = ", ".join(map(str, places)) + (", ..." if finding.count > len(finding.lines) else "")
        print_line(f"- {finding.kind}: {finding.count:,} (lines {lines}): {finding.advice}")
    if not report.findings and not report.notes:
        print_line("no problems found")
