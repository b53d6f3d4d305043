"""BLEU, chrF, chrF++ and TER with sacreBLEU (Post 2018) on detokenized text, each with its signature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sacrebleu.metrics.base import Metric
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER

from transformer_cli.data.text import detect_script
from transformer_cli.schema.evaluation import MetricsConfig

MAX_RESAMPLED_LINES = 30_000_000
"""Lines times resamples above which there are no intervals: their row numbers need 8 bytes each."""
SEED = 12345
"""The seed of sacreBLEU's resampling."""


@dataclass(frozen=True)
class Score:
    """A corpus score: BLEU, chrF and chrF++ in 0..100, higher is better; TER from 0 up, lower is better.

    Attributes:
        mean, half_width: mean of the bootstrap resamples, and half the width of their 95 % interval; None without
            resampling.
    """

    name: str
    value: float
    signature: str
    mean: float | None = None
    half_width: float | None = None

    @property
    def interval(self) -> str:
        """`μ = 38.91 ± 1.23`, as sacreBLEU prints it; empty without resampling."""
        return "" if self.mean is None else f"μ = {self.mean:.2f} ± {self.half_width:.2f}"

    def __str__(self) -> str:
        interval = f" ({self.interval})" if self.interval else ""
        return f"{self.name} {self.value:.2f}{interval}  {self.signature}"


def tokenization(references: Sequence[str]) -> str:
    """The BLEU tokenizer for the script of these references.

    `13a`, the default of sacreBLEU, splits at spaces; in scripts without spaces it would compare
    whole sentences. Chinese therefore uses `zh`, in which each Chinese character is a word, and other
    such scripts, for example Thai, use `char`.
    """
    return {"chinese": "zh", "unspaced": "char", "spaced": "13a"}[detect_script("".join(references))]


def build_metrics(
    references: Sequence[Sequence[str]], config: MetricsConfig, *, per_sentence: bool = False
) -> list[Metric]:
    """The metrics of sacreBLEU, with the references, which are prepared once.

    Args:
        references: one or more sets of references.
        per_sentence: BLEU ignores orders of n-grams longer than the sentence (effective order).
    """
    c = config
    best = tokenization(references[0])
    tokenize = best if c.tokenize == "auto" else c.tokenize
    unspaced = best in ("zh", "char")
    sets = [strip_ends(one) for one in references]
    chrf: dict[str, Any] = {
        "char_order": c.chrf_char_order,
        "beta": c.chrf_beta,
        "whitespace": c.chrf_whitespace,
        "lowercase": c.chrf_lowercase,
        "eps_smoothing": c.chrf_eps_smoothing,
        "references": sets,
    }
    return [
        BLEU(
            lowercase=c.lowercase,
            tokenize=tokenize,
            smooth_method=c.smooth_method,
            smooth_value=c.smooth_value,
            effective_order=per_sentence,
            references=sets,
        ),
        CHRF(**chrf),
        CHRF(word_order=2, **chrf),
        TER(
            normalized=c.ter_normalized or unspaced,
            no_punct=c.ter_no_punct,
            asian_support=c.ter_asian_support or unspaced,
            case_sensitive=c.ter_case_sensitive,
            references=sets,
        ),
    ]


def corpus_scores(
    hypotheses: Sequence[str], *references: Sequence[str], config: MetricsConfig | None = None
) -> list[Score]:
    """Compute BLEU, chrF, chrF++ and TER of detokenized, cased text against one or more sets of references.

    There are no intervals if the text is too large for resampling; see `can_resample`.
    """
    config = config or MetricsConfig()
    resamples = config.resamples if can_resample(len(hypotheses), config) else 0
    return [_score(metric, hypotheses, resamples) for metric in build_metrics(references, config)]


def can_resample(lines: int, config: MetricsConfig) -> bool:
    """Whether the bootstrap resamples of a text of so many lines fit into memory."""
    return lines * config.resamples <= MAX_RESAMPLED_LINES


def quick_scores(hypotheses: Sequence[str], references: Sequence[str]) -> tuple[float, float]:
    """Compute (BLEU, chrF) for validation."""
    bleu = BLEU(tokenize=tokenization(references), references=[list(references)])
    return _score(bleu, hypotheses, 0).value, _score(CHRF(references=[list(references)]), hypotheses, 0).value


def strip_ends(lines: Sequence[str]) -> list[str]:
    """The lines without white space at their ends, which the `sacrebleu` command removes as well."""
    return [line.rstrip() for line in lines]


def _score(metric: Metric, hypotheses: Sequence[str], resamples: int) -> Score:
    if not resamples:
        result = metric.corpus_score(strip_ends(hypotheses), None)
        return Score(result.name, float(result.score), str(metric.get_signature()))
    # As `metric.corpus_score(..., n_bootstrap=resamples)`, which needs a gigabyte for 10,000 lines: it holds all
    # resamples at once.
    stats = metric._extract_corpus_statistics(strip_ends(hypotheses), None)
    result = metric._aggregate_and_compute(stats)
    metric.n_bootstrap, metric.seed = resamples, str(SEED)
    array = np.array(stats, dtype=np.float32)
    rows = np.random.default_rng(SEED).choice(len(stats), size=(resamples, len(stats)), replace=True)
    result.estimate_ci([metric._compute_score_from_stats(array[row].sum(0)) for row in rows])
    signature = str(metric.get_signature())
    return Score(result.name, float(result.score), signature, float(result._mean), float(result._ci))
