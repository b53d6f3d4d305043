"""The result of translating a line, and how it is assembled from the results of its segments."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field

from transformer_cli.decoding.search.hypothesis import Hypothesis
from transformer_cli.decoding.segments import Segment, TextCodec

UNSURE = "unsure"
"""Status of a translation below `decoding.min_confidence`."""


@dataclass(frozen=True)
class Alternative:
    """One of the n best translations of a line. `score` as in `Translation`."""

    text: str
    score: float


@dataclass(frozen=True)
class Translation:
    """One line of output.

    Attributes:
        text: the translation.
        score: length-normalized log-probability; the mean over the segments of a split line, 0 for
            an empty one.
        status: `ok`, `empty` (the line is blank), `split` (translated sentence by sentence),
            `cut` (a sentence longer than the model accepts was cut in the middle) or `failed`
            (phrases to avoid leave no translation; see `is_damaged`), or `unsure` (the confidence
            is below `decoding.min_confidence`).
        token_log_probs: log-probability of each token of the translation and of EOS.
        alternatives: the n best translations with distinct texts, best first, starting with this
            one.
        links: word alignment (source word, target word) if requested.
        segments: (source, translation) of each segment.
        confidence: 0 to 1, if requested: the sentence chrF / 100 that such translations had on the
            validation set.
        seconds: time of the batches that were searched together with this line, divided by their
            sentences.
    """

    text: str
    score: float
    status: str
    token_log_probs: list[float] = field(default_factory=list)
    alternatives: list[Alternative] = field(default_factory=list)
    links: list[tuple[int, int]] = field(default_factory=list)
    seconds: float = 0.0
    segments: list[tuple[str, str]] = field(default_factory=list)
    confidence: float | None = None


@dataclass(frozen=True)
class SearchResult:
    """The result of search for one source: hypotheses, best first, and the seconds that search took."""

    hypotheses: list[Hypothesis]
    seconds: float

    @property
    def best(self) -> Hypothesis:
        return self.hypotheses[0]


@dataclass(frozen=True)
class SegmentTranslation:
    """The translation of one segment of a line. `text`, `links`: of its best hypothesis."""

    segment: Segment
    result: SearchResult
    text: str
    links: list[tuple[int, int]]


def is_damaged(text: str, sources: Sequence[str]) -> bool:
    """Whether a translation is blank, or has bytes that form no character, or control characters other than tabs.

    Search generates these if nothing else is allowed. U+FFFD is also legitimate if a source has it.
    """
    has_replacement = "\ufffd" in text and not any("\ufffd" in source for source in sources)
    return not text.strip() or has_replacement or any(unicodedata.category(c) == "Cc" and c != "\t" for c in text)


def join_segments(segments: Sequence[SegmentTranslation], n_best: int, tokenizer: TextCodec) -> Translation:
    """The translation of a line, from those of its segments; a blank line has none.

    Only a line of a single segment has up to `n_best` alternatives; others have the translation itself.
    """
    if not segments:
        return Translation("", 0.0, "empty", alternatives=[Alternative("", 0.0)])
    best = [s.result.best for s in segments]
    score = sum(h.score for h in best) / len(best)
    text = " ".join(s.text.strip() for s in segments)
    is_cut = any(s.segment.splits_sentence for s in segments)
    return Translation(
        text,
        score,
        "cut" if is_cut else "ok" if len(segments) == 1 else "split",
        [p for h in best for p in h.token_log_probs],
        _alternatives(segments[0].result, n_best, tokenizer)
        if len(segments) == 1 and n_best > 1
        else [Alternative(text, score)],
        offset_links([s.links for s in segments], [s.segment.text for s in segments], [s.text for s in segments]),
        sum(s.result.seconds for s in segments),
        [(s.segment.text, s.text) for s in segments],
    )


def _alternatives(result: SearchResult, n_best: int, tokenizer: TextCodec) -> list[Alternative]:
    """The n best distinct texts: hypotheses of different tokens may have the same text."""
    texts = tokenizer.decode([h.ids for h in result.hypotheses])
    scores: dict[str, float] = {}
    for text, hypothesis in zip(texts, result.hypotheses, strict=True):
        scores.setdefault(text.strip(), hypothesis.score)
    return [Alternative(text, score) for text, score in list(scores.items())[:n_best]]


def offset_links(
    links: Sequence[Sequence[tuple[int, int]]], sources: Sequence[str], targets: Sequence[str]
) -> list[tuple[int, int]]:
    """Links of the segments of a line, renumbered over the whole line.

    Args:
        links: of each segment. sources, targets: text and translation of each segment.
    """
    shifted, source_offset, target_offset = [], 0, 0
    for segment_links, source, target in zip(links, sources, targets, strict=True):
        shifted += [(s + source_offset, t + target_offset) for s, t in segment_links]
        source_offset, target_offset = source_offset + len(source.split()), target_offset + len(target.split())
    return shifted
