"""`compare`: whether one system is better than another, and where."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from transformer_cli.cli.options import OUTPUT, Checkpoint, Device, Json, To, schema_options, value
from transformer_cli.cli.terminal import exit_on_signal, notify, print_json, print_line
from transformer_cli.schema import DecodingConfig
from transformer_cli.schema.evaluation import MetricsConfig

if TYPE_CHECKING:
    from transformer_cli.evaluation.breakdown import Bucket
    from transformer_cli.evaluation.comparison import Difference, Result
    from transformer_cli.experiment.comparison import ComparedSystems

EXAMPLES = (
    "transformer-cli compare runs/mine translations.de --src test.en --ref test.de",
    "transformer-cli compare runs/mine runs/adapted --src test.en --ref test.de --beam 1",
)


@schema_options(DecodingConfig, "beam", "length_penalty", "precision", "batch_tokens", "engine")
@schema_options(MetricsConfig, *MetricsConfig.model_fields, parameter="metrics")
def compare(
    systems: Annotated[
        list[str],
        typer.Argument(
            metavar="SYSTEM...",
            help="Two or more: run directory, bundle, file of translations, or result of evaluate (.json). The "
            "first is the baseline. Seeds of one system are separated by commas: runs/a-1,runs/a-2.",
        ),
    ],
    src: Annotated[Path | None, value("--src", "FILE", "Source text of the test set.")] = None,
    ref: Annotated[
        list[Path] | None, value("--ref", "FILE", "Reference translation; repeat it for several references.")
    ] = None,
    examples: Annotated[
        int,
        typer.Option(
            "--examples",
            metavar="N",
            min=0,
            help="Lines with the largest differences to show, for and against.",
            rich_help_panel=OUTPUT,
        ),
    ] = 3,
    overrides: dict[str, Any] | None = None,
    metrics: dict[str, Any] | None = None,
    json: Json = False,
    to: To = "",
    checkpoint: Checkpoint = "best",
    device: Device = "auto",
) -> None:
    """Compare translations of a test set: scores with intervals, significance tests, wins and losses.

    Decoding options not given here come from the config.yaml of each run; the defaults shown are those of a new
    configuration.
    """
    from transformer_cli.errors import ConfigError
    from transformer_cli.experiment.comparison import ComparisonRequest
    from transformer_cli.experiment.comparison import compare as compare_request
    from transformer_cli.experiment.test_sets import TestSet

    if src is None or not ref:
        raise ConfigError("compare needs --src and --ref", hint="transformer-cli compare A B --src F --ref F")
    exit_on_signal(signal.SIGINT)
    test_set = TestSet(src.name, src, ref)
    request = ComparisonRequest(
        systems, test_set, overrides or {}, metrics or {}, checkpoint, device, examples, to
    )
    compared = compare_request(request, notify)
    if json:
        facts = {**compared.text.facts(), "lines": len(compared.text.src), "word_counts": compared.counted}
        print_json({**facts, **asdict(compared.comparison)})
        return
    _print(compared)


def _print(compared: ComparedSystems) -> None:
    comparison = compared.comparison
    print_line(f"test set: {len(compared.text.src):,} lines, {len(compared.text.references)} reference(s)")
    for metric, results in comparison.results.items():
        print_line("")
        _print_table([metric, *_COLUMNS], [_row(result, results[0]) for result in results])
        print_line(f"  {results[0].scores[0].signature}")
    for duel in comparison.duels:
        counts = f"{duel.wins:,} better, {duel.losses:,} worse, {duel.ties:,} equal"
        print_line(f"\n{duel.system}: sentences by chrF: {counts}")
        for title, lines in (("best", duel.best), ("worst", duel.worst)):
            for line in lines:
                _print_difference(title, line)
    names = [result.system for result in next(iter(comparison.results.values()))]
    _print_buckets("chrF by words of the source", "lines", comparison.lengths, names)
    title = f"F1 of words by their frequency in {compared.counted}"
    _print_buckets(title, "words", comparison.frequencies, names)


_COLUMNS = ("score", "95 % interval", "difference", "p bootstrap", "p randomisation", "p seeds")


def _row(result: Result, baseline: Result) -> list[str]:
    several = result.sd is not None
    score = f"{result.mean:.2f}" + (f" ± {result.sd:.2f} sd, {len(result.scores)} seeds" if several else "")
    interval = "" if several else result.scores[0].interval.removeprefix("μ = ")
    difference = "" if result is baseline else f"{result.mean - baseline.mean:+.2f}"
    p_values = (result.p_bootstrap, result.p_randomization, result.p_seeds)
    return [result.system, score, interval, difference, *("" if p is None else f"{p:.4f}" for p in p_values)]


def _print_difference(title: str, line: Difference) -> None:
    print_line(f"  {title}, line {line.line:,}: chrF {line.chrf[0]:.1f} -> {line.chrf[1]:.1f}")
    print_line(f"    source      {line.source}")
    print_line(f"    reference   {line.reference}")
    print_line(f"    baseline    {line.translations[0]}")
    print_line(f"    translation {line.translations[1]}")


def _print_buckets(title: str, unit: str, buckets: Sequence[Bucket], names: Sequence[str]) -> None:
    print_line(f"\n{title}")
    rows = [[b.name, f"{b.size:,}", *(f"{score:.2f}" for score in b.scores)] for b in buckets]
    _print_table(["", unit, *names], rows)


def _print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns of equal width without those that are empty; the first is aligned left."""
    used = [i for i in range(len(head)) if any(row[i] for row in rows)]
    table = [[row[i] for i in used] for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for first, *rest in table:
        cells = [f"{cell:>{width}}" for cell, width in zip(rest, widths[1:], strict=True)]
        print_line("  ".join([f"{first:<{widths[0]}}", *cells]).rstrip())
