"""`check`: the corpus doctor."""

from __future__ import annotations

import shlex
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from transformer_cli.cli.options import Columns, Data, DataFormat, Json, Settings, Src, Tgt, switch
from transformer_cli.cli.terminal import exit_on_signal, notify, print_json, print_line

if TYPE_CHECKING:
    from transformer_cli.data.doctor import CorpusReport

EXAMPLES = (
    "transformer-cli check --src my.en --tgt my.de",
    "transformer-cli check --data corpus.csv --columns English,German --against-src test.en --against-tgt test.de",
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
    settings: Settings = None,
    columns: Columns = None,
    data_format: DataFormat = None,
    json: Json = False,
    strict: Annotated[
        bool, switch("--strict", "Exit with code 3 if something would spoil training or a test score.")
    ] = False,
) -> None:
    """Check a corpus: misaligned, repeated, untranslated or damaged lines, test text in it, and how to mend it.

    The findings are those of the filters of `clean`; nothing is changed.
    """
    from dataclasses import asdict

    from transformer_cli.config import load_cleaning_config
    from transformer_cli.data.corpus import read_parallel
    from transformer_cli.data.corpus_stream import CorpusStream
    from transformer_cli.data.doctor import check_corpus, mending_command
    from transformer_cli.data.readers.corpus_files import CorpusFiles
    from transformer_cli.errors import ConfigError

    if (against_src is None) != (against_tgt is None):
        raise ConfigError("--against-src and --against-tgt must be given together")
    config = load_cleaning_config(None, settings or (), None)
    sources = CorpusFiles(src or (), tgt or (), data or (), columns, data_format).sources(as_text=True)
    exit_on_signal(signal.SIGINT)
    other = read_parallel([against_src], [against_tgt]) if against_src and against_tgt else None
    stream = CorpusStream(sources, notify)
    report = check_corpus(stream, config.filters, [*other.src, *other.tgt] if other else None)
    named = {"--src": src, "--tgt": tgt, "--data": data, "--columns": columns, "--data-format": data_format}
    corpus = " ".join(f"{option} {_words(value)}" for option, value in named.items() if value)
    excluded = f"--exclude {_words([against_src, against_tgt])}" if against_src and against_tgt else ""
    command = mending_command(report.findings, corpus, excluded)
    if json:
        print_json({**asdict(report), "clean": command})
    else:
        _print_report(report, command, one_file=len(sources) == 1)
    if strict and report.problems:
        raise typer.Exit(3)


def _words(value: object) -> str:
    values = value if isinstance(value, list) else [value]
    return " ".join(shlex.quote(str(word)) for word in values)


def _print_report(report: CorpusReport, command: str, *, one_file: bool) -> None:
    print_line(f"{report.pairs:,} pairs")
    for side, words, types, longest in zip(
        ("source", "target"), report.words, report.types, report.longest, strict=True
    ):
        print_line(f"{side}: {words:,} words, {types:,} different; longest: line {longest}")
    columns = list(next(iter(report.lengths.values())))
    print_line(f"{'lengths':<18}" + "".join(f"{column:>9}" for column in columns))
    for name, row in report.lengths.items():
        print_line(f"{name:<18}" + "".join(f"{value:>9,}" for value in row.values()))
    for note in report.notes:
        print_line(f"- {note}")
    for finding in report.findings:
        places = list(map(str, finding.lines)) if one_file else finding.places
        more = ", ..." if finding.count > len(places) else ""
        lines = f" (lines {', '.join(places)}{more})" if places else ""
        print_line(f"- {finding.level}: {finding.kind}: {finding.count:,}{lines}: {finding.advice}")
        for example in finding.examples:
            print_line(f"    {example[0]} ||| {example[1]}")
    if not report.findings and not report.notes:
        print_line("no problems found")
    if command:
        print_line(f"to mend what can be mended: {command}")
