"""Writes a report as one HTML file.

Every text is escaped by Jinja2. A content security policy forbids everything from outside, and every script but
the one that is part of the report.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from transformer_cli.evaluation.report.charts import Series, bar_chart, line_chart
from transformer_cli.evaluation.report.contents import Report, RunReport

FILES = Path(__file__).parent
TRAIN, VALIDATION = "train", "validation"


def render_report(report: Report) -> str:
    """The report as HTML. The same report gives the same text."""
    environment = Environment(
        loader=FileSystemLoader(FILES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script, style = (FILES.joinpath(name).read_text(encoding="utf-8") for name in ("report.js", "report.css"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template("report.html").render(
        report=report,
        curves=_curves(report.runs),
        lengths=_bars(report, "chrF by length of the source", "words of the source", report.lengths, "lines"),
        frequencies=_bars(report, "Words by frequency", "occurrences", report.frequencies, "words"),
        rows=_rows,
        **{f"{name}_of": _getter(name) for name in ("data", "filtered", "speed", "versions", "hashes")},
        percent=lambda count: f"{100 * count / max(report.lines, 1):.1f} %",
        script=Markup(script),
        style=Markup(style),
        script_hash=digest,
    )


def number(record: Mapping[str, Any], key: str) -> float | None:
    """A value of a record of `metrics.jsonl`, which may have been written by anybody; None if it is no number."""
    value = record.get(key)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _curves(runs: Sequence[RunReport]) -> list[Markup]:
    """Loss, validation scores, learning rate and speed; charts without data are left out."""
    charts = [
        ("Loss", "nats per target token", [("training", TRAIN, "loss"), ("validation", VALIDATION, "loss")]),
        (
            "Validation, greedy",
            "BLEU, chrF (0 to 100)",
            [("BLEU", VALIDATION, "bleu"), ("chrF", VALIDATION, "chrf")],
        ),
        ("Learning rate", "learning rate", [("learning rate", TRAIN, "lr")]),
        ("Speed of training", "target tokens per second", [("tokens/s", TRAIN, "tokens_per_second")]),
    ]
    drawn = []
    for title, y_label, lines in charts:
        series = []
        for place_of_run, run in enumerate(runs):
            for place, (label, kind, key) in enumerate(lines):
                records = [record for record in run.curves if record.get("kind") == kind]
                pairs = [(number(record, "step"), number(record, key)) for record in records]
                points = [(x, y) for x, y in pairs if x is not None and y is not None]
                name = f"{run.name}: {label}" if len(runs) > 1 else label
                series.append(Series(name, points, place_of_run * len(lines) + place, kind == VALIDATION))
        drawn.append(line_chart(title, "step", y_label, series))
    return [chart for chart in drawn if chart]


def _bars(
    report: Report, title: str, x_label: str, buckets: Sequence[tuple[str, int, list[float]]], unit: str
) -> Markup:
    y_label = "F1 of words (0 to 100)" if unit == "words" else "chrF (0 to 100)"
    groups = [(name, f"n={_count(size)}", scores) for name, size, scores in buckets]
    return bar_chart(title, f"{x_label}; n = {unit}", y_label, groups, [run.name for run in report.runs])


def _count(size: int) -> str:
    """A number for a narrow place: 1,743 and 17k."""
    return f"{size:,}" if size < 10_000 else f"{size / 1000:.0f}k" if size < 10_000_000 else f"{size / 1e6:.0f}M"


def _getter(name: str) -> Callable[[RunReport], Mapping[str, Any]]:
    return lambda run: getattr(run, name)


def _rows(
    runs: Sequence[RunReport], facts: Callable[[RunReport], Mapping[str, Any]]
) -> list[tuple[str, list[str]]]:
    """A row for each fact of any run, with the value of each run."""
    keys = dict.fromkeys(key for run in runs for key in facts(run))
    return [(key, [str(facts(run).get(key, "–")) for run in runs]) for key in keys]
