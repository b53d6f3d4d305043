"""Filter by word alignment: do the words of the two sides explain each other?

IBM Model 1 (Brown et al. 1993) is estimated in both directions on a sample of the corpus. A pair is scored by how
much better its words are explained by the other side than by their frequency, in nats per word. The threshold is a
quantile of the scores of random pairs, and so adapts to each corpus.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transformer_cli.batch import TokenIds
from transformer_cli.data.filters.base import Pair
from transformer_cli.data.lexicon import estimate_model1

MIN_PAIRS = 1000
"""Pairs of the sample from which the model is estimated."""
ENTRIES = 4_000_000
"""Maximum number of word pairs that are counted; of a larger sample only every n-th pair is used."""
MIN_COUNT = 5
"""Occurrences in the sample from which a word is scored: a rarer one is explained by its own pair."""
MAX_VOCABULARY = 50_000
MIN_SCORED_WORDS = 4
"""Known words on each side from which a pair is scored."""
MAX_GAIN = 4.0
"""Limit, in nats, of what one word contributes."""
FLOOR = 0.05
"""Smallest probability of a word, as a share of its relative frequency."""
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

    Attributes:
        src_ids, tgt_ids: the known words.
        random: sorted scores of random pairs.
    """

    src_ids: dict[str, int]
    tgt_ids: dict[str, int]
    forward: _Direction
    backward: _Direction
    random: NDArray[np.float64]

    @staticmethod
    def estimate(pairs: Sequence[Pair]) -> AlignmentModel | None:
        """Estimate on a sample; None if it is too small, or too noisy to tell real pairs from random ones."""
        if len(pairs) < MIN_PAIRS:
            return None
        src_words = [_normalized(pair.src_words) for pair in pairs]
        tgt_words = [_normalized(pair.tgt_words) for pair in pairs]
        src_ids, tgt_ids = _vocabulary(src_words), _vocabulary(tgt_words)
        encoded = [
            (_encode(s, src_ids), _encode(t, tgt_ids)) for s, t in zip(src_words, tgt_words, strict=True)
        ]
        encoded = [(s, t) for s, t in encoded if min(len(s), len(t)) >= MIN_SCORED_WORDS]
        entries = sum((len(s) + 1) * (len(t) + 1) for s, t in encoded)
        encoded = encoded[:: max(1, -(-entries // ENTRIES))]
        if len(encoded) < MIN_PAIRS / 2:
            return None
        sources, targets = [s for s, _ in encoded], [t for _, t in encoded]
        model = AlignmentModel(
            src_ids,
            tgt_ids,
            _Direction.estimate(sources, targets, len(src_ids), len(tgt_ids)),
            _Direction.estimate(targets, sources, len(tgt_ids), len(src_ids)),
            np.empty(0),
        )
        part = slice(0, 20_000)
        real = model._scores(sources[part], targets[part])
        shift = len(sources) // 2
        random = np.sort(model._scores(sources[part], (targets[shift:] + targets[:shift])[part]))
        if np.median(real) <= np.quantile(random, SEPARATION):
            return None
        return AlignmentModel(src_ids, tgt_ids, model.forward, model.backward, random)

    def score(self, pairs: Sequence[Pair]) -> NDArray[np.float64]:
        """The score of each pair, in nats per word; infinite for pairs with too few known words."""
        scores = np.full(len(pairs), np.inf)
        encoded = [
            (_encode(_normalized(pair.src_words), self.src_ids), _encode(_normalized(pair.tgt_words), self.tgt_ids))
            for pair in pairs
        ]
        rows = [i for i, (s, t) in enumerate(encoded) if min(len(s), len(t)) >= MIN_SCORED_WORDS]
        if rows:
            scores[rows] = self._scores([encoded[i][0] for i in rows], [encoded[i][1] for i in rows])
        return scores

    def _scores(self, sources: Sequence[TokenIds], targets: Sequence[TokenIds]) -> NDArray[np.float64]:
        parts = []
        for first in range(0, len(sources), 1024):
            part = slice(first, first + 1024)
            both = self.forward.gains(sources[part], targets[part]), self.backward.gains(targets[part], sources[part])
            parts.append((both[0] + both[1]) / 2)
        return np.concatenate(parts)


class Misaligned:
    """Pairs that score below a quantile of the scores of random pairs."""

    key = "alignment"
    reason = "misaligned"
    advice = "the words do not fit each other: probably not translations of each other"

    def __init__(self, quantile: float, model: AlignmentModel) -> None:
        self._model, self._threshold = model, float(np.quantile(model.random, quantile))

    def flag(self, pairs: Sequence[Pair]) -> list[bool]:
        return (self._model.score(pairs) < self._threshold).tolist()


class _Punctuation(dict[int, str | None]):
    """Table for `str.translate` that removes punctuation and symbols; filled as needed."""

    def __missing__(self, code: int) -> str | None:
        value = None if unicodedata.category(chr(code))[0] in "PSC" else chr(code)
        self[code] = value
        return value


_PUNCTUATION = _Punctuation()


def _normalized(words: Sequence[str]) -> list[str]:
    return " ".join(words).lower().translate(_PUNCTUATION).split()


def _vocabulary(lines: Sequence[Sequence[str]]) -> dict[str, int]:
    counts = Counter(word for words in lines for word in words)
    kept = [word for word, count in counts.most_common(MAX_VOCABULARY) if count >= MIN_COUNT]
    return {word: i for i, word in enumerate(kept)}


def _encode(words: Sequence[str], ids: dict[str, int]) -> TokenIds:
    return np.array([ids[word] for word in words if word in ids], dtype=np.int64)
