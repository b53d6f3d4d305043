from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transformer_cli.evaluation.report.charts import (
    HEIGHT,
    MAX_POINTS,
    WIDTH,
    Series,
    bar_chart,
    line_chart,
    ticks,
)

FINITE = st.integers(-(10**9), 10**9).map(lambda n: n / 1e5)


@given(FINITE, FINITE)
def test_ticks_cover_the_values_with_few_round_numbers(a: float, b: float) -> None:
    low, high = min(a, b), max(a, b)
    found = ticks(low, high)
    assert 2 <= len(found) <= 8 and found == sorted(set(found))
    slack = 1e-6 * max(abs(low), abs(high))
    assert found[0] <= low + slack and found[-1] >= high - slack


def test_ticks_of_scores() -> None:
    assert ticks(0, 41.8) == [0, 10, 20, 30, 40, 50] and ticks(0, 0.004) == [0, 0.001, 0.002, 0.003, 0.004]
    assert ticks(3, 3) == pytest.approx([3, 4]) or len(ticks(3, 3)) >= 2


def figure(markup: str) -> ElementTree.Element:
    return ElementTree.fromstring(markup)


def test_lines_stay_inside_and_have_names_and_units() -> None:
    points = [(float(x), math.sin(x)) for x in range(1, 2000)]
    broken = [(1.0, math.nan), (2.0, math.inf), (3.0, 0.5)]
    svg = figure(
        line_chart(
            "A & B", "step", "nats <per> token", [Series("one", points, 0), Series("two", broken, 1, markers=True)]
        )
    )
    path, short = (p.attrib["d"] for p in svg.findall("./svg/path"))
    numbers = [tuple(map(float, pair.split())) for pair in re.split("[ML]", path) if pair]
    assert len(numbers) <= MAX_POINTS + 1 and all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in numbers)
    assert "nan" not in path + short and len(svg.findall(".//svg[@role='img']/rect")) == 1
    texts = [element.text for element in svg.iter("text")]
    assert "nats <per> token" in texts and "step" in texts and svg.findtext("figcaption") == "A & B"
    assert [span.text for span in svg.iter("span") if span.text] == ["one", "two"]
    assert svg.find(".//title").text == "two: 0.5 at step 3"  # type: ignore[union-attr]


def test_charts_without_data_are_empty() -> None:
    assert line_chart("t", "x", "y", [Series("none", [], 0), Series("nan", [(1.0, math.nan)], 1)]) == ""
    assert bar_chart("t", "x", "y", [], ["a"]) == ""


def test_bars_have_their_values() -> None:
    svg = figure(
        bar_chart("t", "words", "chrF", [("1–5", "n=3", [50.0, 25.0]), ("6+", "n=9", [0.0, 100.0])], ["a", "b"])
    )
    heights = [float(r.attrib["height"]) for r in svg.findall("./svg/rect")]
    assert heights[0] == pytest.approx(2 * heights[1], abs=0.2) and heights[2] == 0
    assert heights[3] == pytest.approx(2 * heights[0], abs=0.2)
    assert [t.text for t in svg.iter("title")] == [
        "a, 1–5: 50.00",
        "b, 1–5: 25.00",
        "a, 6+: 0.00",
        "b, 6+: 100.00",
    ]
    assert {"50.0", "25.0", "0.0", "100.0", "1–5", "n=9", "chrF", "words"} <= {t.text for t in svg.iter("text")}
