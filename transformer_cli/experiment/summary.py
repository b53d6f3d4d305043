"""Implementation of `inspect` without a sentence: a summary of a run. Free of torch."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from safetensors import safe_open

from transformer_cli.artifacts.model_source import RunSource
from transformer_cli.manifest import MODEL
from transformer_cli.training.metrics_log import read_metrics

BLOCKS = "▁▂▃▄▅▆▇█"
MAX_WIDTH = 60
"""Characters of a sparkline; longer series are averaged."""
METRIC_NAMES = {"bleu": "BLEU", "chrf": "chrF", "loss": "validation loss"}


def summarize_run(run: Path, checkpoint: str) -> list[tuple[str, str]]:
    """Facts about a run, as (name, text).

    Raises:
        CheckpointError: no run, no such checkpoint, or a damaged one.
    """
    source = RunSource.open(run, checkpoint)
    records = list(read_metrics(source.run.metrics))
    config, state = source.config, source.metrics()
    parts = parameters_by_part(source.checkpoint / MODEL)
    metric = config.training.metric
    facts = [
        ("run", str(run)),
        ("model", f"{config.model.encoder} -> {config.model.decoder}, d_model {config.model.d_model}, "
                  f"{config.model.encoder_layers} + {config.model.decoder_layers} layers"),
        ("checkpoint", f"{source.checkpoint.name} of step {state.get('step', 0):,}"),
    ]  # fmt: skip
    if state.get("best_score") is not None:
        score = f"{METRIC_NAMES[metric]} {abs(float(state['best_score'])):.2f}"
        facts.append(("best", f"step {state['best_step']:,}: {score} (validation, greedy)"))
    if len(config.data.directions) > 1:
        logged = [record["directions"] for record in records if isinstance(record.get("directions"), dict)]
        shown = (f"{name} {abs(float(scores[metric])):.2f}" for name, scores in (logged or [{}])[-1].items())
        facts.append(("directions", f"{', '.join(shown)} (last validation)"))
    for name, kind, key in (("training loss", "train", "loss"), (METRIC_NAMES[metric], "validation", metric)):
        if values := _values(records, kind, key):
            facts.append((name, f"{sparkline(values)}  {values[0]:.2f} to {values[-1]:.2f}"))
    if seconds := [*_values(records, "train", "seconds"), *_values(records, "validation", "seconds")]:
        facts.append(("time", f"{max(seconds) / 60:.1f} minutes of training"))
    if rates := _values(records, "train", "tokens_per_second"):
        facts.append(("speed", f"{sorted(rates)[len(rates) // 2]:,.0f} target tokens per second"))
    total = sum(parts.values())
    facts.append(("parameters", f"{total:,}: {', '.join(f'{name} {count:,}' for name, count in parts.items())}"))
    size = (source.checkpoint / MODEL).stat().st_size
    whole = sum(path.stat().st_size for path in run.rglob("*") if path.is_file() and not path.is_symlink())
    facts.append(("size", f"model {size / 1e6:.1f} MB, run directory {whole / 1e6:.1f} MB"))
    return facts


def parameters_by_part(weights: Path) -> dict[str, int]:
    """Number of parameters of each part of a model, the largest first; tied matrices count once."""
    parts: dict[str, int] = {}
    with safe_open(weights, framework="numpy") as tensors:
        for name in tensors.keys():  # noqa: SIM118  (not a dictionary)
            count = 1
            for size in tensors.get_slice(name).get_shape():
                count *= size
            part = name.partition(".")[0].replace("tgt_embedding", "embedding").replace("_", " ")
            parts[part] = parts.get(part, 0) + count
    return dict(sorted(parts.items(), key=lambda item: -item[1]))


def sparkline(values: Sequence[float]) -> str:
    """A line of blocks from the lowest to the highest value."""
    width = min(len(values), MAX_WIDTH)
    bounds = [len(values) * i // width for i in range(width + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(bounds)]
    low, span = min(means), max(means) - min(means)
    top = len(BLOCKS) - 1
    return "".join(BLOCKS[round((value - low) / span * top) if span else 0] for value in means)


def _values(records: Sequence[dict[str, Any]], kind: str, key: str) -> list[float]:
    """The finite values of a key in the records of a kind."""
    found = [record.get(key) for record in records if record.get("kind") == kind]
    return [float(v) for v in found if isinstance(v, int | float) and abs(v) < float("inf")]
