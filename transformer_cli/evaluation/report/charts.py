"""Line and bar charts as inline SVG.

Colours come from the style sheet of the report, so that they follow dark mode. Series differ in dashes, markers
and hatching as well as in colour. Sizes are in units of the view box, about a pixel on a phone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

from markupsafe import Markup

WIDTH, HEIGHT = 380, 240
LEFT, RIGHT, TOP, BOTTOM = 50, 12, 14, 46
"""Margins around the plot: tick labels and the names of the axes."""
TICKS = 5
MAX_POINTS = 400
"""Points of a line; of a longer series, every n-th is drawn."""


@dataclass(frozen=True)
class Series:
    """A line: `style` is the number of its colour and dashes; `points` are (x, y)."""

    label: str
    points: Sequence[tuple[float, float]]
    style: int
    markers: bool = False


def line_chart(title: str, x_label: str, y_label: str, series: Sequence[Series]) -> Markup:
    """A chart of the series that have points; empty if none has."""
    drawn = [Series(s.label, _thin(_finite(s.points)), s.style, s.markers) for s in series]
    drawn = [s for s in drawn if s.points]
    if not drawn:
        return Markup()
    xs, ys = ([point[i] for s in drawn for point in s.points] for i in (0, 1))
    x_ticks, y_ticks = ticks(0.0, max(xs)), ticks(min(ys), max(ys))
    x_range, y_range = (0.0, max(max(xs), x_ticks[-1])), (min(*y_ticks, *ys), max(*y_ticks, *ys))
    svg = _chart(title, x_label, y_label, y_ticks, y_range)
    for tick in x_ticks:
        _text(svg, _scale(tick, x_range, LEFT, WIDTH - RIGHT), HEIGHT - BOTTOM + 14, _number(tick), "middle")
    for one in drawn:
        places = [
            (_scale(x, x_range, LEFT, WIDTH - RIGHT), _scale(y, y_range, HEIGHT - BOTTOM, TOP))
            for x, y in one.points
        ]
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        _add(svg, "path", d=path, **{"class": f"line s{one.style}"})
        for (x, y), (value_x, value_y) in zip(places, one.points, strict=True):
            if one.markers:
                marker = _marker(svg, x, y, one.style)
                _add(marker, "title").text = f"{one.label}: {value_y:.4g} at {x_label} {_number(value_x)}"
    return _figure(title, svg, [(one.label, one.style, "marked" if one.markers else "line") for one in drawn])


def bar_chart(
    title: str,
    x_label: str,
    y_label: str,
    groups: Sequence[tuple[str, str, Sequence[float]]],
    names: Sequence[str],
) -> Markup:
    """Groups of bars from 0, each with its value above it.

    Args:
        groups: (label, second line of the label, a value for each of `names`).
    """
    if not groups:
        return Markup()
    y_ticks = ticks(0.0, max(max(values) for *_, values in groups) or 1.0)
    y_range = (0.0, y_ticks[-1])
    svg = _chart(title, x_label, y_label, y_ticks, y_range)
    step = (WIDTH - LEFT - RIGHT) / len(groups)
    width = min(30.0, 0.86 * step / len(names))
    digits = 1 if width > 24 else 0
    for place, (label, note, values) in enumerate(groups):
        middle = LEFT + (place + 0.5) * step
        for number, value in enumerate(values):
            x, y = middle + (number - len(values) / 2) * width, _scale(value, y_range, HEIGHT - BOTTOM, TOP)
            box = {"x": f"{x + 1:.1f}", "y": f"{y:.1f}", "width": f"{width - 2:.1f}"}
            bar = _add(svg, "rect", **box, height=f"{HEIGHT - BOTTOM - y:.1f}", **{"class": f"bar s{number}"})
            _add(bar, "title").text = f"{names[number]}, {label}: {value:.2f}"
            _text(svg, x + width / 2, y - 3, f"{value:.{digits}f}", "middle", "value")
        _text(svg, middle, HEIGHT - BOTTOM + 12, label, "middle")
        _text(svg, middle, HEIGHT - BOTTOM + 22, note, "middle", "value")
    return _figure(title, svg, [(name, number, "bar") for number, name in enumerate(names)])


def ticks(low: float, high: float) -> list[float]:
    """Round numbers, at most `TICKS` + 2, from at most `low` to at least `high`."""
    span = (high - low) or abs(high) or 1.0
    step = 10.0 ** math.floor(math.log10(span / TICKS))
    step *= next(factor for factor in (1, 2, 5, 10) if span / (step * factor) <= TICKS + 1e-9)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{number * step:.9g}") for number in range(first, max(last, first + 1) + 1)]


def _chart(
    title: str, x_label: str, y_label: str, y_ticks: Sequence[float], y_range: tuple[float, float]
) -> ElementTree.Element:
    svg = ElementTree.Element("svg", viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img")
    svg.set("aria-label", f"{title}: {y_label} by {x_label}")
    for tick in y_ticks:
        y = _scale(tick, y_range, HEIGHT - BOTTOM, TOP)
        _add(svg, "line", x1=str(LEFT), x2=str(WIDTH - RIGHT), y1=f"{y:.1f}", y2=f"{y:.1f}", **{"class": "grid"})
        _text(svg, LEFT - 5, y + 3.5, _number(tick), "end")
    _text(svg, (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 5, x_label, "middle", "axis")
    middle = (TOP + HEIGHT - BOTTOM) / 2
    label = _text(svg, 11, middle, y_label, "middle", "axis")
    label.set("transform", f"rotate(-90 11 {middle:.1f})")
    return svg


def _figure(title: str, svg: ElementTree.Element, legend: Sequence[tuple[str, int, str]]) -> Markup:
    figure = ElementTree.Element("figure")
    _add(figure, "figcaption").text = title
    figure.append(svg)
    if len(legend) > 1:
        names = _add(figure, "div", **{"class": "legend"})
        for label, style, kind in legend:
            item = _add(names, "span")
            swatch = _add(item, "svg", viewBox="0 0 26 12", width="26", height="12", **{"aria-hidden": "true"})
            if kind == "bar":
                _add(swatch, "rect", x="2", y="1", width="22", height="10", **{"class": f"bar s{style}"})
            else:
                _add(swatch, "path", d="M1 6L25 6", **{"class": f"line s{style}"})
            if kind == "marked":
                _marker(swatch, 13, 6, style)
            _add(item, "span").text = label
    return Markup(ElementTree.tostring(figure, encoding="unicode", short_empty_elements=False))


def _marker(svg: ElementTree.Element, x: float, y: float, style: int) -> ElementTree.Element:
    """A circle for even styles, a square for odd ones."""
    if style % 2 == 0:
        return _add(svg, "circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r="3.2", **{"class": f"mark s{style}"})
    box = {"x": f"{x - 3:.1f}", "y": f"{y - 3:.1f}", "width": "6", "height": "6"}
    return _add(svg, "rect", **box, **{"class": f"mark s{style}"})


def _add(parent: ElementTree.Element, tag: str, **attributes: str) -> ElementTree.Element:
    return ElementTree.SubElement(parent, tag, attributes)


def _text(
    svg: ElementTree.Element, x: float, y: float, text: str, anchor: str, kind: str = "tick"
) -> ElementTree.Element:
    element = _add(svg, "text", x=f"{x:.1f}", y=f"{y:.1f}", **{"text-anchor": anchor, "class": kind})
    element.text = text
    return element


def _finite(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    return [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]


def _thin(points: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    every = math.ceil(len(points) / MAX_POINTS) or 1
    return [*points[:-1:every], *points[-1:]]


def _scale(value: float, source: tuple[float, float], low: float, high: float) -> float:
    span = source[1] - source[0] or 1.0
    return low + (value - source[0]) / span * (high - low)


def _number(value: float) -> str:
    """A short number: 12k, 0.004, 37.5."""
    if abs(value) >= 10_000:
        return f"{value / 1000:g}k"
    return f"{value:.4g}" if abs(value) >= 0.001 or value == 0 else f"{value:.0e}"
