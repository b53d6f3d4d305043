"""Filter by word alignment: do the words of the two sides explain each other?

IBM Model 1 (Brown et al. 1993) is estimated in both directions on a sample of the corpus. A pair is scored by how
much better its words are explained by the other side than by their frequency, in nats per word. The threshold is a
quantile of the scores of random pairs, and so adapts to each corpus.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transformer_cli.token_ids import (TokenIds)
from transformer_cli.data.filters.base import Pair
from transformer_cli.data.model1 import estimate_model1
from transformer_cli.unicode_scripts import HAN, KANA

MIN_PAIRS = 1000
"""Pairs of the sample from which the model is estimated."""
ENTRIES = 4_000_000
"""Maximum number of word pairs that are counted; of a larger sample only every n-th pair is used."""
MIN_COUNT = 5
"""Occurrences in the sample from which a word is scored: a rarer one is explained by its own pair."""
MAX_VOCABULARY = 50_000
RANDOM_PAIRS = 10_000
"""Random pairs of each half that are scored."""
MIN_SCORED_WORDS = 4
"""Known words on each side from which a pair is scored."""
MAX_GAIN = 4.0
"""Limit, in nats, of what one word contributes."""
FLOOR = 0.05
"""Smallest probability of a word, as a share of its relative frequency."""
UNSPACED_LETTERS = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]+")
"""A run of letters of Thai, Lao, Burmese or Khmer."""
IDEOGRAPHIC = re.compile(f"[{HAN}{KANA}]")
MAX_DEVIATIONS = 3.0
"""A pair is misaligned only if it scores this many standard deviations below the median of the real pairs."""
SEPARATION = 0.9
"""Quantile of the random pairs that the median of the real ones must exceed; otherwise nothing is filtered."""


@dataclass(frozen=True)
class _Direction:
    """Model 1 in one direction: sorted pairs of words, their probabilities, and the relative frequency of words."""

    pairs: NDArray[np.int64]
    prob: NDArray[np.float64]
    frequency: NDArray[np.float64]
    null: int

    @staticmethod
    def estimate(sources: Sequence[TokenIds], targets: Sequence[TokenIds], src: int, tgt: int) -> _Direction:
        with_null = [np.append(source, src) for source in sources]
        pairs, prob, _ = estimate_model1(with_null, targets, tgt)
        counts = np.bincount(np.concatenate(list(targets)), minlength=tgt) + 1.0
        return _Direction(pairs, prob, counts / counts.sum(), src)

    def gains(self, sources: Sequence[TokenIds], targets: Sequence[TokenIds]) -> NDArray[np.float64]:
        """Mean gain of the target words of each sentence, in nats. No sentence may be empty."""
        vocabulary = len(self.frequency)
        blocks = [np.append(s, self.null)[:, None] * vocabulary + t for s, t in zip(sources, targets, strict=True)]
        keys = np.concatenate([block.ravel() for block in blocks])
        place = np.minimum(np.searchsorted(self.pairs, keys), len(self.pairs) - 1)
        prob = np.where(self.pairs[place] == keys, self.prob[place], 0.0)
        # Sum over the source words, for each target position.
        position, ends = [], 0
        for block in blocks:
            position.append(np.tile(np.arange(ends, ends + block.shape[1]), block.shape[0]))
            ends += block.shape[1]
        lengths = np.array([len(t) for t in targets])
        sizes = np.repeat([len(s) + 1.0 for s in sources], lengths)
        words = np.concatenate(list(targets))
        explained = np.bincount(np.concatenate(position), prob, minlength=ends) / sizes
        ratio = np.maximum(explained / self.frequency[words], FLOOR)
        gains = np.minimum(np.log(ratio), MAX_GAIN)
        return np.add.reduceat(gains, np.concatenate([[0], lengths.cumsum()[:-1]])) / lengths


@dataclass(frozen=True)
class AlignmentModel:
    """Scores pairs by Model 1 in both directions.

    A model explains the pairs that it was estimated on, even random ones. Hence there are two, each estimated on
    half of the sample, and a pair is scored by the one that has not seen it.

    Attributes:
        src_ids, tgt_ids: the known words.
        halves: (source to target, target to source) estimated on the pairs of `_half` 0 and 1.
        real, random: scores of pairs of the sample, and of random pairs.
    """

    src_ids: dict[str, int]
    tgt_ids: dict[str, int]
    halves: tuple[tuple[_Direction, _Direction], ...]
    real: NDArray[np.float64]
    random: NDArray[np.float64]

    @staticmethod
    def estimate(pairs: Sequence[Pair]) -> AlignmentModel | None:
        """Estimate on a sample; None if it is too small, or too noisy to tell real pairs from random ones."""
        if len(pairs) < MIN_PAIRS:
            return None
        words = [(_units(pair.src), _units(pair.tgt)) for pair in pairs]
        src_ids, tgt_ids = _vocabulary([src for src, _ in words]), _vocabulary([tgt for _, tgt in words])
        encoded = [
            (_half(pair), _encode(src, src_ids), _encode(tgt, tgt_ids))
            for pair, (src, tgt) in zip(pairs, words, strict=True)
        ]
        encoded = [entry for entry in encoded if min(len(entry[1]), len(entry[2])) >= MIN_SCORED_WORDS]
        entries = sum((len(src) + 1) * (len(tgt) + 1) for _, src, tgt in encoded)
        encoded = encoded[:: max(1, -(-entries // ENTRIES))]
        parts = [[(src, tgt) for half, src, tgt in encoded if half == part] for part in (0, 1)]
        if min(map(len, parts)) < MIN_PAIRS / 4:
            return None
        halves = []
        for part in parts:
            sources, targets = [src for src, _ in part], [tgt for _, tgt in part]
            forward = _Direction.estimate(sources, targets, len(src_ids), len(tgt_ids))
            halves.append((forward, _Direction.estimate(targets, sources, len(tgt_ids), len(src_ids))))
        real, random = [], []
        for part, directions in zip(parts, reversed(halves), strict=True):
            sources, targets = [src for src, _ in part], [tgt for _, tgt in part]
            shift, judged = len(part) // 2, slice(0, RANDOM_PAIRS)
            real.append(_scores(directions, sources[judged], targets[judged]))
            random.append(_scores(directions, sources[judged], (targets[shift:] + targets[:shift])[judged]))
        model = AlignmentModel(src_ids, tgt_ids, tuple(halves), np.concatenate(real), np.concatenate(random))
        return model if np.median(model.real) > np.quantile(model.random, SEPARATION) else None

    def threshold(self, quantile: float) -> float:
        """The score below which a pair is misaligned: like random pairs, and unlike the real ones."""
        median, above = np.quantile(self.real, [0.5, 0.84])
        deviation = above - median  # of the upper side: noise of the sample is on the lower one
        return float(min(np.quantile(self.random, quantile), median - MAX_DEVIATIONS * deviation))

    def score(self, pairs: Sequence[Pair]) -> NDArray[np.float64]:
        """The score of each pair, in nats per word; infinite for pairs with too few known words."""
        scores = np.full(len(pairs), np.inf)
        encoded = [
            (_encode(_units(pair.src), self.src_ids), _encode(_units(pair.tgt), self.tgt_ids))
            for pair in pairs
        ]
        for half, model in enumerate(reversed(self.halves)):
            rows = [
                i
                for i, (src, tgt) in enumerate(encoded)
                if min(len(src), len(tgt)) >= MIN_SCORED_WORDS and _half(pairs[i]) == half
            ]
            if rows:
                scores[rows] = _scores(model, [encoded[i][0] for i in rows], [encoded[i][1] for i in rows])
        return scores


def _half(pair: Pair) -> int:
    """The half of the sample that a pair belongs to; the same for equal sources."""
    return zlib.crc32(pair.src.encode("utf-8", errors="surrogatepass")) & 1


def _scores(
    model: tuple[_Direction, _Direction], sources: Sequence[TokenIds], targets: Sequence[TokenIds]
) -> NDArray[np.float64]:
    """Mean gain of both directions."""
    parts = []
    for first in range(0, len(sources), 1024):
        part = slice(first, first + 1024)
        forward, backward = model
        gains = forward.gains(sources[part], targets[part]), backward.gains(targets[part], sources[part])
        parts.append((gains[0] + gains[1]) / 2)
    return np.concatenate(parts)


class Misaligned:
    """Pairs that score below a quantile of the scores of random pairs; see `AlignmentModel.threshold`."""

    key = "alignment"
    reason = "misaligned"
    advice = "the words do not fit each other: probably not translations of each other"

    def __init__(self, quantile: float, model: AlignmentModel) -> None:
        self._model, self._threshold = model, model.threshold(quantile)

    def flag(self, pairs: Sequence[Pair]) -> list[bool]:
        return (self._model.score(pairs) < self._threshold).tolist()


class _Punctuation(dict[int, str | None]):
    """Table for `str.translate` that removes punctuation and symbols; filled as needed."""

    def __missing__(self, code: int) -> str | None:
        value = None if unicodedata.category(chr(code))[0] in "PSC" else chr(code)
        self[code] = value
        return value


_PUNCTUATION = _Punctuation()


def _units(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation.

    Chinese and Japanese characters are words of their own. Letters of scripts without spaces between words say
    little alone: there, every three in a row are a word.
    """
    text = text.lower().translate(_PUNCTUATION)
    if not text.isascii():
        text = UNSPACED_LETTERS.sub(_trigrams, text)
        text = IDEOGRAPHIC.sub(r" \g<0> ", text)
    return text.split()


def _trigrams(run: re.Match[str]) -> str:
    letters = run[0]
    return f" {' '.join(letters[i : i + 3] for i in range(max(1, len(letters) - 2)))} "


def _vocabulary(lines: Sequence[Sequence[str]]) -> dict[str, int]:
    counts = Counter(word for words in lines for word in words)
    kept = [word for word, count in counts.most_common(MAX_VOCABULARY) if count >= MIN_COUNT]
    return {word: i for i, word in enumerate(kept)}


def _encode(words: Sequence[str], ids: dict[str, int]) -> TokenIds:
    return np.array([ids[word] for word in words if word in ids], dtype=np.int64)
