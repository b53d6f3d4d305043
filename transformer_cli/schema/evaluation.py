"""The options of the metrics. Names and defaults are those of the `sacrebleu` command."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from transformer_cli.options import Section, key
from transformer_cli.schema.types import Count

METRICS = "Metrics"
"""Panel of the help screen."""
SMOOTHED = ("floor", "add-k")
"""Smoothing methods of BLEU that have a value."""


class MetricsConfig(Section):
    """How BLEU, chrF, chrF++ and TER are computed."""

    tokenize: Literal["auto", "13a", "intl", "zh", "char", "none"] = key(
        "auto",
        "Tokenizer of BLEU. auto: zh for Chinese, char for other scripts without spaces, 13a for the rest.",
        panel=METRICS,
    )
    lowercase: bool = key(False, "BLEU: ignore case.", panel=METRICS)
    smooth_method: Literal["exp", "floor", "add-k", "none"] = key(
        "exp", "BLEU: smoothing of n-grams without a match.", panel=METRICS
    )
    smooth_value: float | None = key(
        None, "BLEU: the value of floor (null = 0.1) or add-k (null = 1).", panel=METRICS, ge=0.0, le=100.0
    )
    chrf_char_order: int = key(6, "chrF, chrF++: longest character n-gram.", panel=METRICS, ge=1, le=20)
    chrf_beta: Count = key(2, "chrF, chrF++: weight of recall compared with precision.", panel=METRICS)
    chrf_whitespace: bool = key(False, "chrF, chrF++: count spaces.", panel=METRICS)
    chrf_lowercase: bool = key(False, "chrF, chrF++: ignore case.", panel=METRICS)
    chrf_eps_smoothing: bool = key(
        False, "chrF, chrF++: smooth n-grams without a match by epsilon.", panel=METRICS
    )
    ter_case_sensitive: bool = key(False, "TER: do not ignore case.", panel=METRICS)
    ter_normalized: bool = key(
        False, "TER: split off punctuation; always done in scripts without spaces.", panel=METRICS
    )
    ter_asian_support: bool = key(
        False, "TER: split Asian characters; always done in scripts without spaces.", panel=METRICS
    )
    ter_no_punct: bool = key(False, "TER: ignore punctuation.", panel=METRICS)
    resamples: int = key(
        1000,
        "Bootstrap resamples of the 95 % intervals (sacreBLEU's --confidence-n); 0 = no intervals.",
        panel=METRICS,
        ge=0,
        le=100_000,
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.smooth_value is not None and self.smooth_method not in SMOOTHED:
            raise ValueError(f"smooth_value has no effect with smooth_method {self.smooth_method}")
        if self.resamples == 1:
            raise ValueError("resamples 1: an interval needs two or more")
        return self
