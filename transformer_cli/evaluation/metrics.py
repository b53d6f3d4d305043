"""sacreBLEU's scores (Post 2018) on detokenised text, each with the signature that says what it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sacrebleu.metrics.base import Metric
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER


@dataclass(frozen=True)
class Score:
    """A corpus score: BLEU and chrF 0..100 (more is better), TER 0.. (less is better)."""

    name: str
    value: float
    signature: str

    def __str__(self) -> str:
        return f"{self.name} {self.value:.2f}  {self.signature}"


def corpus_scores(hypotheses: Sequence[str], references: Sequence[str]) -> list[Score]:
    """BLEU, chrF and TER of detokenised, cased text against one reference a line."""
    return [_score(metric, hypotheses, references) for metric in (BLEU(), CHRF(), TER())]


def quick_scores(hypotheses: Sequence[str], references: Sequence[str]) -> tuple[float, float]:
    """(BLEU, chrF), for validation."""
    bleu, chrf = (_score(metric, hypotheses, references).value for metric in (BLEU(), CHRF()))
    return bleu, chrf


def _score(metric: Metric, hypotheses: Sequence[str], references: Sequence[str]) -> Score:
    result = metric.corpus_score(list(hypotheses), [list(references)])
    return Score(result.name, result.score, str(metric.get_signature()))
