"""The decoding options."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from transformer_cli.options import Section, key
from transformer_cli.schema.types import Count, CountOrZero, Seed

SEARCH, SAMPLING, CONSTRAINTS, SPEED = "Search", "Sampling", "Constraints", "Speed and memory"
OUTPUT = "Output"
"""Panels of the help screen."""


REQUIRES: dict[str, tuple[str, ...]] = {"diversity_strength": ("diversity_groups",)}
REQUIRES |= dict.fromkeys(("temperature", "top_k", "top_p", "seed"), ("sample", "mbr_samples"))
"""Decoding keys that have no effect unless one of the named keys is set."""


class DecodingConfig(Section):
    """Search, sampling and constraints of translation."""

    beam: int = key(5, "Beam width; 1 = greedy search.", ge=1, le=256)
    length_penalty: float = key(
        1.0,
        "GNMT length penalty alpha: scores are divided by ((5 + length) / 6) ** alpha.",
        panel=SEARCH,
        ge=0.0,
        le=10.0,
    )
    coverage_penalty: float = key(
        0.0,
        "GNMT coverage penalty beta: rerank finished hypotheses by how well they attend to every source token; "
        "0 = off.",
        panel=SEARCH,
        ge=0.0,
        le=10.0,
    )
    max_length_ratio: float = key(
        2.0, "Maximum tokens of a translation per source token, plus 10.", panel=CONSTRAINTS, gt=0.0, le=100.0
    )
    min_length_ratio: float = key(
        0.0, "Minimum tokens of a translation per source token.", panel=CONSTRAINTS, ge=0.0, le=10.0
    )
    no_repeat_ngram: CountOrZero = key(0, "Never repeat an n-gram of this order; 0 = off.", panel=CONSTRAINTS)
    repetition_penalty: float = key(
        1.0,
        "Multiply the log-probabilities of tokens generated before; 1 = off.",
        panel=CONSTRAINTS,
        ge=1.0,
        le=100.0,
    )
    protect: bool = key(
        False,
        "Keep URLs, e-mail addresses, numbers, {placeholders}, %s and <tags> exactly as they are in the source.",
        panel=CONSTRAINTS,
    )
    confidence: bool = key(
        False,
        "Add a confidence to --format jsonl: the sentence chrF, 0 to 1, of such translations in validation.",
        panel=OUTPUT,
    )
    min_confidence: float = key(
        0.0,
        "Withhold translations below this confidence: as text an empty line, in jsonl the status unsure; 0 = off.",
        panel=OUTPUT,
        ge=0.0,
        le=1.0,
    )
    diversity_groups: Count = key(
        1, "Diverse beam search: groups of beams that avoid each other's tokens; 1 = off.", panel=SEARCH
    )
    diversity_strength: float = key(
        0.5,
        "Penalty, in nats, on a token for each beam of an earlier group that generates it.",
        panel=SEARCH,
        ge=0.0,
        le=100.0,
    )
    sample: bool = key(False, "Sample translations instead of searching for the best one.", panel=SAMPLING)
    temperature: float = key(
        1.0, "Temperature: below 1 more conservative, above 1 more random.", panel=SAMPLING, ge=0.01, le=100.0
    )
    top_k: CountOrZero = key(0, "Sample among the k most probable tokens only; 0 = all.", panel=SAMPLING)
    top_p: float = key(
        1.0,
        "Nucleus sampling: sample among the most probable tokens with this total probability.",
        panel=SAMPLING,
        gt=0.0,
        le=1.0,
    )
    seed: Seed = key(
        1,
        "Seed of sampling; a sample depends on the seed and the line's number, not on its batch.",
        panel=SAMPLING,
    )
    mbr_samples: int = key(
        0,
        "Minimum Bayes risk decoding: of this many samples return the one most similar to the others (chrF); "
        "0 = off.",
        panel=SAMPLING,
        ge=0,
        le=1024,
    )
    batch_tokens: CountOrZero = key(
        0,
        "Source tokens of a batch, padding included; 0 = 8,192 (GPU: 16,384) divided by the beam width.",
        panel=SPEED,
    )
    precision: Literal["fp32", "int8", "bf16", "fp64"] = key(
        "fp32",
        "Precision of matrix products: int8 for a CPU (rounding depends on the batch), bf16 for a GPU, fp64 for "
        "exact comparisons.",
        panel=SPEED,
    )
    shortlist: int = key(
        0,
        "Search only among this many target tokens per source token, learned from the run's data/; 0 = off. Not "
        "with --prefix, --terms, --avoid, --mbr-samples or --ensemble.",
        panel=SPEED,
        ge=0,
        le=10_000,
    )
    engine: Literal["torch", "ctranslate2", "auto"] = key(
        "torch",
        "Program that searches: torch; ctranslate2, faster on a CPU; auto = ctranslate2 where it is installed and "
        "supports what is asked.",
        panel=SPEED,
    )
    compiled: Literal["auto", "always", "never"] = key(
        "auto",
        "Compiled search on a CPU, two to three times as fast, which needs the extra fast: auto = for long texts.",
        panel=SPEED,
    )
    threads: CountOrZero = key(0, "CPU workers of one thread each; 0 = one per core.", panel=SPEED)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.beam % self.diversity_groups:
            raise ValueError(f"beam {self.beam} is not a multiple of diversity_groups {self.diversity_groups}")
        for name in ("sample", "mbr_samples"):
            if getattr(self, name) and self.diversity_groups > 1:
                raise ValueError(f"{name} cannot be combined with diversity_groups")
        if self.mbr_samples and self.shortlist:
            raise ValueError("mbr_samples cannot be combined with shortlist")
        if self.mbr_samples and self.coverage_penalty:
            raise ValueError("mbr_samples cannot be combined with coverage_penalty: both rerank the candidates")
        if self.min_length_ratio > self.max_length_ratio:
            raise ValueError(
                f"min_length_ratio {self.min_length_ratio} is above max_length_ratio {self.max_length_ratio}"
            )
        return self
