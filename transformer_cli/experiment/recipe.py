"""A configuration for a corpus of this size, with the reason for each choice.

The table follows what has worked: small corpora want small vocabularies, small models and more dropout
(Sennrich and Zhang 2019); on a small budget of time the smaller model also wins because it sees more epochs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transformer_cli.data.text import UNSPACED

WORDS_PER_PIECE = 0.75
CHARACTERS_PER_PIECE = 1.5
"""Rough shares, the second of scripts without spaces; only the number of steps depends on them."""


@dataclass(frozen=True)
class Recipe:
    """Values for `load_config`, and for each choice its key and why."""

    values: dict[str, dict[str, Any]]
    reasons: dict[str, str]

    def told(self, chosen: Mapping[str, Any]) -> list[str]:
        """A line for each choice; where `chosen` (`section.key` -> value) is another, it was the user's."""
        lines = []
        for key, why in self.reasons.items():
            section, name = key.split(".")
            own = chosen[key] == self.values[section][name]
            lines.append(f"{key} {chosen[key]}: {why if own else 'as you have set it'}")
        return lines


@dataclass(frozen=True)
class _Row:
    below: float
    vocab_size: int
    preset: str
    dropout: float
    lr: float
    batch_tokens: int
    epochs: int
    algorithm: str = "adamw"
    positions: str = "sinusoidal"


_CPU = [
    _Row(5_000, 1000, "tiny", 0.3, 2e-3, 2048, 80),
    _Row(100_000, 4000, "tiny", 0.15, 4e-3, 1000, 20, "muon", "rotary"),
    _Row(1_000_000, 8000, "small", 0.15, 2e-3, 4096, 10),
    _Row(float("inf"), 32_000, "base", 0.1, 1e-3, 4096, 3),
]
_GPU = [
    _Row(5_000, 1000, "tiny", 0.3, 2e-3, 2048, 100),
    _Row(100_000, 4000, "small", 0.3, 2e-3, 4096, 60),
    _Row(1_000_000, 10_000, "base", 0.3, 7e-4, 8192, 40),
    _Row(float("inf"), 32_000, "base", 0.1, 1e-3, 25_000, 20),
]


def choose_recipe(tgt: Sequence[str], *, on_gpu: bool, ranks: int = 1) -> Recipe:
    """The recipe for a corpus with these target lines, on so many devices."""
    pairs = len(tgt)
    row = next(r for r in (_GPU if on_gpu else _CPU) if pairs < r.below)
    steps_per_epoch = max(1, round(_pieces(tgt) / row.batch_tokens / ranks))
    steps = max(200, row.epochs * steps_per_epoch)
    validate_every = max(50, steps // 12)
    values: dict[str, dict[str, Any]] = {
        "tokenizer": {"vocab_size": row.vocab_size},
        "model": {"preset": row.preset, "dropout": row.dropout, "positions": row.positions},
        "data": {"batch_tokens": row.batch_tokens},
        "optim": {
            "algorithm": row.algorithm,
            "lr": row.lr,
            "schedule": "linear",
            "warmup_steps": min(400, max(20, steps // 8)),
        },
        "training": {
            "max_steps": steps,
            "validate_every": validate_every,
            "save_every": validate_every,
            "log_every": min(50, max(5, steps // 50)),
        },
    }
    where = "a GPU" if on_gpu else "a CPU"
    reasons = {
        "tokenizer.vocab_size": f"{pairs:,} pairs show each piece often enough",
        "model.preset": f"learns most from {pairs:,} pairs in the time that {where} gives",
        "model.dropout": "the smaller the corpus, the more",
        "model.positions": "learned in fewer updates (docs/log.md)"
        if row.positions == "rotary"
        else "the field's standard",
        "optim.algorithm": "fewer updates to the same score (docs/log.md)"
        if row.algorithm == "muon"
        else "the field's standard",
        "optim.lr": "linear to the end: the rate for a model of this width over a known budget",
        "data.batch_tokens": "enough updates in an epoch",
        "training.max_steps": f"about {row.epochs} epochs",
    }
    return Recipe(values, reasons)


def _pieces(lines: Sequence[str]) -> float:
    """About so many pieces has a text."""
    words = characters = 0
    for line in lines:
        rest, unspaced = UNSPACED.subn(" ", line)
        words, characters = words + len(rest.split()), characters + unspaced
    return words / WORDS_PER_PIECE + characters / CHARACTERS_PER_PIECE
