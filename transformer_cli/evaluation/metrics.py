"""BLEU, chrF and TER with sacreBLEU (Post 2018) on detokenized text, each with its signature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sacrebleu.metrics.base import Metric
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER

from transformer_cli.data.text import detect_script

TOKENIZERS = ("13a", "intl", "zh", "char", "none")
"""The tokenizers of sacreBLEU's BLEU that need no download."""


@dataclass(frozen=True)
class Score:
    """A corpus score: BLEU and chrF in 0..100, higher is better; TER from 0 up, lower is better."""

    name: str
    value: float
    signature: str

    def __str__(self) -> str:
        return f"{self.name} {self.value:.2f}  {self.signature}"


def tokenization(references: Sequence[str]) -> str:
    """The BLEU tokenizer for the script of these references.

    `13a`, the default of sacreBLEU, splits at spaces; in scripts without spaces it would compare
    whole sentences. Chinese therefore uses `zh`, in which each Chinese character is a word, and other
    such scripts, for example Thai, use `char`.
    """
    return {"chinese": "zh", "unspaced": "char", "spaced": "13a"}[detect_script("".join(references))]


def corpus_scores(
    hypotheses: Sequence[str], *references: Sequence[str], tokenize: str | None = None
) -> list[Score]:
    """Compute BLEU, chrF and TER of detokenized, cased text against one or more sets of references.

    `tokenize` is one of `TOKENIZERS`; None selects it from the first references (see `tokenization`).
    """
    tokenize = tokenize or tokenization(references[0])
    ter = TER(normalized=True, asian_support=True) if tokenize in ("zh", "char") else TER()
    return [_score(metric, hypotheses, references) for metric in (BLEU(tokenize=tokenize), CHRF(), ter)]


def quick_scores(hypotheses: Sequence[str], references: Sequence[str]) -> tuple[float, float]:
    """Compute (BLEU, chrF) for validation."""
    bleu = BLEU(tokenize=tokenization(references))
    return _score(bleu, hypotheses, [references]).value, _score(CHRF(), hypotheses, [references]).value


def _score(metric: Metric, hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> Score:
    result = metric.corpus_score(list(hypotheses), [list(reference_set) for reference_set in references])
    return Score(result.name, result.score, str(metric.get_signature()))
