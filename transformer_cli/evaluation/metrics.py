"""sacreBLEU's scores (Post 2018) on detokenised text, each with the signature that says what it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sacrebleu.metrics.base import Metric
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER

from transformer_cli.data.text import detect_script

TOKENIZERS = ("13a", "intl", "zh", "char", "none")
"""sacreBLEU's ways to find words that need nothing downloaded."""


@dataclass(frozen=True)
class Score:
    """A corpus score: BLEU and chrF 0..100 (more is better), TER 0.. (less is better)."""

    name: str
    value: float
    signature: str

    def __str__(self) -> str:
        return f"{self.name} {self.value:.2f}  {self.signature}"


def tokenization(references: Sequence[str]) -> str:
    """How BLEU finds the words of these references.

    `13a`, the field's default, splits at spaces; of a text without any, such as Thai, it would compare whole
    sentences. There it is `zh`: each character of Chinese is a word, and for other such scripts `char`.
    """
    return {"chinese": "zh", "unspaced": "char", "spaced": "13a"}[detect_script("".join(references))]


def corpus_scores(
    hypotheses: Sequence[str], *references: Sequence[str], tokenize: str | None = None
) -> list[Score]:
    """BLEU, chrF and TER of detokenised, cased text against one or more references a line.

    `tokenize` is one of `TOKENIZERS`; None chooses by the references (see `tokenization`).
    """
    tokenize = tokenize or tokenization(references[0])
    ter = TER(normalized=True, asian_support=True) if tokenize in ("zh", "char") else TER()
    return [_score(metric, hypotheses, references) for metric in (BLEU(tokenize=tokenize), CHRF(), ter)]


def quick_scores(hypotheses: Sequence[str], references: Sequence[str]) -> tuple[float, float]:
    """(BLEU, chrF), for validation."""
    bleu = BLEU(tokenize=tokenization(references))
    return _score(bleu, hypotheses, [references]).value, _score(CHRF(), hypotheses, [references]).value


def _score(metric: Metric, hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> Score:
    result = metric.corpus_score(list(hypotheses), [list(one) for one in references])
    return Score(result.name, result.score, str(metric.get_signature()))
