"""Recipes: a configuration chosen by corpus size, with the reason for each choice.

The tables are empirical. Small corpora need small vocabularies, small models and more dropout (Sennrich and
Zhang 2019). With little time, a smaller model is also better because it trains for more epochs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

WORDS_PER_TOKEN = 0.75
CHARACTERS_PER_TOKEN = 1.5
"""Rough estimates, the second for scripts without spaces; only the number of steps depends on them."""


@dataclass(frozen=True)
class Recipe:
    """Configuration values for `load_config`, and the reason for each choice by key (`section.key`)."""

    values: dict[str, dict[str, Any]]
    reasons: dict[str, str]

    def describe(self, resolved: Mapping[str, Any]) -> list[str]:
        """One line for each choice; `resolved` has the final values, which the user may have changed, by key."""
        lines = []
        for key, reason in self.reasons.items():
            section, name = key.split(".")
            unchanged = resolved[key] == self.values[section][name]
            lines.append(f"{key} {resolved[key]}: {reason if unchanged else 'set on the command line'}")
        return lines


@dataclass(frozen=True)
class _Row:
    """The recipe for corpora of fewer than `max_pairs` pairs."""

    max_pairs: float
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
    _Row(100_000, 4000, "small", 0.3, 4e-3, 4096, 60, "muon", "rotary"),
    _Row(1_000_000, 10_000, "base", 0.3, 7e-4, 8192, 40),
    _Row(float("inf"), 32_000, "base", 0.1, 1e-3, 25_000, 20),
]


def choose_recipe(pairs: int, words: int, characters: int, *, on_gpu: bool, ranks: int = 1) -> Recipe:
    """Choose the recipe for a corpus.

    Args:
        words, characters: of the target: words between spaces, and characters of scripts without spaces.
        ranks: number of devices.
    """
    row = next(r for r in (_GPU if on_gpu else _CPU) if pairs < r.max_pairs)
    steps_per_epoch = _steps_per_epoch(words, characters, row.batch_tokens, ranks)
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
            "tune_length_penalty": True,
        },
    }
    device = "a GPU" if on_gpu else "a CPU"
    reasons = {
        "tokenizer.vocab_size": f"{pairs:,} pairs contain each token often enough",
        "model.preset": f"best model for {pairs:,} pairs in a reasonable time on {device}",
        "model.dropout": "smaller corpora need more",
        "model.positions": "converges in fewer updates (docs/log.md)" if row.positions == "rotary" else "standard",
        "optim.algorithm": "fewer updates to the same score (docs/log.md)"
        if row.algorithm == "muon"
        else "standard",
        "optim.lr": "for a model of this width, with linear decay to the last step",
        "data.batch_tokens": "enough updates per epoch",
        "training.max_steps": f"about {row.epochs} epochs",
        "training.tune_length_penalty": "the best one depends on the corpus and on the training (docs/log.md)",
    }
    return Recipe(values, reasons)


FINE_TUNING_LR = 0.3
"""Peak learning rate of fine-tuning, relative to that of the first training."""
FINE_TUNING_EPOCHS = 4
FINE_TUNING_MIN_STEPS = 100


def choose_fine_tuning(
    values: dict[str, dict[str, Any]], words: int, characters: int, *, ranks: int = 1
) -> Recipe:
    """The configuration to continue a trained model on another corpus.

    Args:
        values: configuration of the model, by section. Architecture, vocabulary, data and search are kept.
        words, characters: as in `choose_recipe`.
        ranks: number of devices.
    """
    steps_per_epoch = _steps_per_epoch(words, characters, values["data"]["batch_tokens"], ranks)
    steps = max(FINE_TUNING_MIN_STEPS, FINE_TUNING_EPOCHS * steps_per_epoch)
    lr = values["optim"]["lr"] * FINE_TUNING_LR
    optim = values["optim"] | {"lr": lr, "schedule": "linear", "warmup_steps": max(10, steps // 20)}
    training = values["training"] | {
        "max_steps": steps,
        "max_minutes": None,
        "validate_every": max(20, steps // 8),
        "save_every": max(20, steps // 8),
        "log_every": min(50, max(5, steps // 50)),
        "tune_length_penalty": True,
    }
    reasons = {
        "optim.lr": f"{FINE_TUNING_LR:g} of that of the first training, so that little is forgotten",
        "training.max_steps": f"about {FINE_TUNING_EPOCHS} epochs, at least {FINE_TUNING_MIN_STEPS} updates",
    }
    return Recipe({**values, "optim": optim, "training": training}, reasons)


def _steps_per_epoch(words: int, characters: int, batch_tokens: int, ranks: int) -> int:
    """Estimate the number of updates of an epoch."""
    tokens = words / WORDS_PER_TOKEN + characters / CHARACTERS_PER_TOKEN
    return max(1, round(tokens / batch_tokens / ranks))
