"""Plots of the figures that `compare_architectures.py` measures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from torch import Tensor

AttentionMap = tuple[Tensor, list[str], list[str]]
"""Weights `[queries, keys]`, labels of the queries, labels of the keys."""
COLORS = {"Transformer": "tab:blue", "GATv2": "tab:purple", "TCN": "tab:green", "GRU": "tab:orange"}
COLORS |= {"LSTM": "tab:red", "tanh": "tab:brown"}
"""By architecture: the first word of a model's name."""


def draw(figures: dict[str, Any], folder: Path) -> None:
    """Draw every picture for which `figures` contains the data."""
    if "tasks" in figures:
        draw_gradients(figures["tasks"], folder / "gradients.png")
        draw_tasks(figures["tasks"], folder / "tasks.png")
    speeds = {name: speed for name, speed in figures.items() if name.startswith("speed")}
    if speeds:
        draw_speed(speeds, folder / "speed.png")


def draw_gradients(tasks: dict[str, Any], picture: Path) -> None:
    """Plot gradient norms against the distance from the end of the source, before and after training."""
    stages = ("at initialisation", "after copy", "after reverse")
    figure, grid = plt.subplots(1, len(stages), figsize=(16, 4.6), layout="constrained")
    for axes, stage in zip(grid, stages, strict=True):
        for name, row in tasks["models"].items():
            axes.plot(row[stage]["gradients"][::-1], label=name, **style(name))
        axes.set(title=stage, xlabel="distance from the end of the source", ylabel="gradient norm", yscale="log")
        axes.grid(alpha=0.3)
    legend(figure, grid[0], 4)
    figure.suptitle("Gradient of the loss at the last target position with respect to each source embedding")
    save(figure, picture)


def draw_tasks(tasks: dict[str, Any], picture: Path) -> None:
    """Plot the accuracy on copying and reversing against length."""
    figure, grid = plt.subplots(1, 2, figsize=(12, 4.6), layout="constrained", sharey=True)
    for axes, task in zip(grid, ("copy", "reverse"), strict=True):
        for name, row in tasks["models"].items():
            lengths = row[task]["lengths"]
            accuracies = [accuracy for accuracy, _ in lengths.values()]
            axes.plot([int(n) for n in lengths], accuracies, label=name, **style(name))
        axes.axvline(tasks["longest"], color="black", alpha=0.4, lw=1)
        axes.text(tasks["longest"] + 0.3, 1.02, "longest in training", fontsize=8)
        axes.set(title=task, xlabel="sequence length", ylim=(0, 1.08))
        axes.grid(alpha=0.3)
    grid[0].set_ylabel("accuracy per position")
    legend(figure, grid[0], 4)
    save(figure, picture)


def draw_speed(speeds: dict[str, Any], picture: Path) -> None:
    """Plot training speed against sentence length, one panel for each device."""
    figure, grid = plt.subplots(1, len(speeds), figsize=(7 * len(speeds), 5), layout="constrained", squeeze=False)
    for axes, (title, speed) in zip(grid[0], speeds.items(), strict=True):
        for name, row in speed["target tokens a second"].items():
            axes.plot([int(n) for n in row], list(row.values()), label=name, **style(name))
        axes.set(title=f"Training {title}", xlabel="tokens per sentence", ylabel="target tokens per second")
        axes.set(xscale="log", ylim=(0, None))
        axes.set_xscale("log", base=2)
        axes.grid(alpha=0.3)
    legend(figure, grid[0][0], 3)
    save(figure, picture)


def draw_maps(maps: dict[str, AttentionMap], picture: Path) -> None:
    """Plot the cross-attention of each model for one sentence."""
    width = sum(0.17 * len(columns) + 1.0 for _, _, columns in maps.values())
    height = max(0.17 * len(rows) for _, rows, _ in maps.values()) + 1.6
    figure, grid = plt.subplots(1, len(maps), figsize=(width, height), layout="constrained", squeeze=False)
    for axes, (name, (weights, rows, columns)) in zip(grid[0], maps.items(), strict=True):
        image = axes.imshow(weights.numpy(), vmin=0.0, vmax=1.0, cmap="Blues", aspect="auto")
        axes.set_title(name, fontsize=9)
        axes.set_xticks(range(len(columns)), columns, rotation=90, fontsize=6)
        axes.set_yticks(range(len(rows)), rows, fontsize=6)
        axes.tick_params(length=1)
    figure.supxlabel("attended source token", fontsize=9)
    figure.supylabel("target token", fontsize=9)
    figure.colorbar(image, ax=grid, shrink=0.6, label="weight")
    save(figure, picture)


def style(name: str) -> dict[str, Any]:
    """Line style of a model: one color per architecture, dashed for its variants."""
    dashed = any(variant in name for variant in ("sinusoids", "no attention", "no input feeding"))
    return {
        "color": COLORS[name.replace(",", " ").split()[0]],
        "ls": "--" if dashed else "-",
        "marker": ".",
        "ms": 4,
    }


def legend(figure: Any, axes: Axes, columns: int) -> None:
    """Add one legend for all panels, below them."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, fontsize=9)


def save(figure: Any, picture: Path) -> None:
    """Write the figure to a file and release its memory."""
    figure.savefig(picture, dpi=110)
    plt.close(figure)
