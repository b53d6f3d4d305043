"""Pictures of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes


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
