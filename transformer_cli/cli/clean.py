"""`clean`: a corpus in, a cleaned corpus out, with the reason for every pair that was removed."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated

import typer

from transformer_cli.cli.options import (
    Columns,
    Data,
    DataFormat,
    Json,
    Normalize,
    Settings,
    Src,
    StrictUtf8,
    Tgt,
    value,
)
from transformer_cli.cli.terminal import exit_on_signal, notify, print_json, print_line

EXAMPLES = (
    "transformer-cli clean --src my.en --tgt my.de --output cleaned",
    "transformer-cli clean --data corpus.csv --columns English,German --exclude test.en test.de --output cleaned",
)


def clean(
    output: Annotated[
        Path,
        value(
            "--output",
            "PREFIX",
            "Write PREFIX.en and PREFIX.de (named by the input), PREFIX.removed.tsv and PREFIX.report.json.",
        ),
    ],
    config: Annotated[
        Path | None, typer.Argument(metavar="CONFIG", help="YAML configuration; its section data is used.")
    ] = None,
    src: Src = None,
    tgt: Tgt = None,
    data: Data = None,
    exclude: Annotated[
        list[Path] | None,
        value(
            "--exclude", "FILE", "Test or validation text that must not be in the corpus; several may be given."
        ),
    ] = None,
    normalize: Normalize = None,
    settings: Settings = None,
    columns: Columns = None,
    data_format: DataFormat = None,
    strict_utf8: StrictUtf8 = False,
    json: Json = False,
) -> None:
    """Remove pairs that harm training, with a reason for each, and write the rest to new files.

    Filters and their limits are the keys of data.filters: `transformer-cli config data.filters` lists them.
    """
    from dataclasses import asdict

    from transformer_cli.config import load_cleaning_config
    from transformer_cli.data.readers.corpus_files import CorpusFiles
    from transformer_cli.experiment.cleaning import CleanRequest, clean_corpus

    files = CorpusFiles(src or (), tgt or (), data or (), columns, data_format)
    resolved = load_cleaning_config(config, settings or (), normalize)
    exit_on_signal(signal.SIGINT, note=lambda: "; unfinished files end in .part")
    report = clean_corpus(CleanRequest(files, output, resolved, exclude or (), strict_utf8), notify)
    if json:
        print_json(asdict(report))
        return
    print_line(f"read     {report.read:>12,} pairs")
    print_line(f"kept     {report.kept:>12,} pairs  {report.kept / report.read:7.2%}")
    for reason, count in report.removed.items():
        print_line(f"removed  {count:>12,} pairs  {count / report.read:7.2%}  {reason}")
    for path in report.outputs:
        print_line(f"wrote    {path}")
