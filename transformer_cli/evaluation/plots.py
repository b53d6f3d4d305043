"""Pictures of a run."""

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


def draw_curves(metrics: Path, picture: Path) -> None:
    """Loss, validation scores and learning rate against steps, from `metrics.jsonl` to a PNG."""
    lines = [json.loads(line) for line in metrics.read_text(encoding="utf-8").split("\n") if line]
    train = [line for line in lines if line["kind"] == "train"]
    valid = [line for line in lines if line["kind"] == "validation"]
    figure, (loss, scores, rate) = plt.subplots(1, 3, figsize=(15, 4.2), layout="constrained")
    _line(loss, train, "loss", "training (with dropout)", marker="")
    _line(loss, valid, "loss", "validation")
    loss.set(title="Negative log-likelihood", ylabel="nats per target token")
    _line(scores, valid, "bleu", "BLEU")
    _line(scores, valid, "chrf", "chrF")
    scores.set(title="Validation, greedy", ylabel="score, 0 to 100")
    _line(rate, train, "lr", "learning rate", marker="")
    rate.set(title="Learning rate")
    for axes in (loss, scores, rate):
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
    figure.savefig(picture, dpi=120)
    plt.close(figure)


def _line(axes: Axes, lines: list[dict[str, Any]], key: str, label: str, marker: str = "o") -> None:
    if lines:
        axes.plot([x["step"] for x in lines], [x[key] for x in lines], label=label, marker=marker, ms=4)


@dataclass(frozen=True)
class HeatMaps:
    """Attention of one sentence.

    Attributes:
        rows, columns: names of the queries and of the keys.
        layers: `[H, queries, keys]` each, from the first layer to the last.
    """

    title: str
    rows: Sequence[str]
    columns: Sequence[str]
    row_label: str
    column_label: str
    layers: Sequence[NDArray[np.float32]]


def draw_heat_maps(maps: HeatMaps, stream: BinaryIO, form: str) -> None:
    """A row of maps for each layer, a column for each head; one scale from 0 to 1 for all.

    `form` is png, svg or pdf.
    """
    layers, heads = len(maps.layers), len(maps.layers[0])
    cell = 0.17  # inches: small, but piece names of 6 points fit
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
            axes.set_xticks(range(len(maps.columns)), _plain(maps.columns), rotation=90, fontsize=6)
            axes.set_yticks(range(len(maps.rows)), _plain(maps.rows), fontsize=6)
            axes.tick_params(length=1)
    figure.suptitle(maps.title, fontsize=10)
    figure.supxlabel(maps.column_label, fontsize=9)
    figure.supylabel(maps.row_label, fontsize=9)
    figure.colorbar(image, ax=grid, shrink=0.6, label="weight")
    figure.savefig(stream, dpi=150, format=form)
    plt.close(figure)


def _plain(names: Sequence[str]) -> list[str]:
    """Names as they are: a `$` begins no formula."""
    return [name.replace("$", r"\$") for name in names]
