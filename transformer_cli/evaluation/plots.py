"""Plots: training curves and attention weights."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import matplotlib
import numpy as np

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from numpy.typing import NDArray


def draw_curves(metrics: Path, output: Path) -> None:
    """Plot loss, validation scores and learning rate over the steps of `metrics.jsonl`, as PNG."""
    records = [json.loads(line) for line in metrics.read_text(encoding="utf-8").split("\n") if line]
    train = [record for record in records if record["kind"] == "train"]
    valid = [record for record in records if record["kind"] == "validation"]
    figure, (loss, scores, lr) = plt.subplots(1, 3, figsize=(15, 4.2), layout="constrained")
    _plot(loss, train, "loss", "training (with dropout)", marker="")
    _plot(loss, valid, "loss", "validation")
    loss.set(title="Negative log-likelihood", ylabel="nats per target token")
    _plot(scores, valid, "bleu", "BLEU")
    _plot(scores, valid, "chrf", "chrF")
    scores.set(title="Validation, greedy", ylabel="score, 0 to 100")
    _plot(lr, train, "lr", "learning rate", marker="")
    lr.set(title="Learning rate")
    for axes in (loss, scores, lr):
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
    figure.savefig(output, dpi=120)
    plt.close(figure)


def draw_sweep(groups: Sequence[tuple[str, Sequence[float]]], label: str, stream: BinaryIO) -> None:
    """Plot the scores of each group, the first on top, as dots with a line at their mean, as PNG.

    Args:
        groups: (settings, scores). label: of the scores.
    """
    figure, axes = plt.subplots(figsize=(8, 1.2 + 0.45 * len(groups)), layout="constrained")
    for place, (_, scores) in enumerate(groups):
        axes.plot(scores, [place] * len(scores), "o", color="#0072b2", alpha=0.7)
        if scores:
            mean = sum(scores) / len(scores)
            axes.plot([mean, mean], [place - 0.3, place + 0.3], color="#d55e00", linewidth=2)
    axes.set_yticks(range(len(groups)), _escape([name for name, _ in groups]))
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.set_xlabel(f"{label}; line: mean")
    axes.grid(alpha=0.3, axis="x")
    figure.savefig(stream, dpi=120, format="png")
    plt.close(figure)


def _plot(axes: Axes, records: list[dict[str, Any]], key: str, label: str, marker: str = "o") -> None:
    if records:
        steps, values = [r["step"] for r in records], [r[key] for r in records]
        axes.plot(steps, values, label=label, marker=marker, ms=4)


@dataclass(frozen=True)
class HeatMaps:
    """Attention weights of one sentence.

    Attributes:
        rows, columns: tokens of the queries and of the keys.
        layers: the weights `[H, queries, keys]` of each layer, first to last.
    """

    title: str
    rows: Sequence[str]
    columns: Sequence[str]
    row_label: str
    column_label: str
    layers: Sequence[NDArray[np.float32]]


def draw_heat_maps(maps: HeatMaps, stream: BinaryIO, form: str) -> None:
    """Plot attention weights as a grid of heat maps: one row per layer, one column per head.

    All maps share the color scale 0 to 1. `form` is png, svg or pdf.
    """
    layers, heads = len(maps.layers), len(maps.layers[0])
    cell = 0.17  # inches: the smallest size at which token labels of 6 points fit
    width, height = cell * len(maps.columns) + 0.3, cell * len(maps.rows) + 0.5
    figure, grid = plt.subplots(
        layers,
        heads,
        figsize=(heads * width + 1.8, layers * height + 1.4),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for layer, weights in enumerate(maps.layers):
        for head, axes in enumerate(grid[layer]):
            image = axes.imshow(weights[head], vmin=0.0, vmax=1.0, cmap="Blues", aspect="auto")
            axes.set_title(f"layer {layer + 1}, head {head + 1}", fontsize=8)
            axes.set_xticks(range(len(maps.columns)), _escape(maps.columns), rotation=90, fontsize=6)
            axes.set_yticks(range(len(maps.rows)), _escape(maps.rows), fontsize=6)
            axes.tick_params(length=1)
    figure.suptitle(maps.title, fontsize=10)
    figure.supxlabel(maps.column_label, fontsize=9)
    figure.supylabel(maps.row_label, fontsize=9)
    figure.colorbar(image, ax=grid, shrink=0.6, label="weight")
    figure.savefig(stream, dpi=150, format=form)
    plt.close(figure)


def _escape(labels: Sequence[str]) -> list[str]:
    """Escape `$`, which would start a formula in matplotlib."""
    return [label.replace("$", r"\$") for label in labels]
