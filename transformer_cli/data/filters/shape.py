"""Filters by lengths, ends and repetition."""

from __future__ import annotations

import math
import operator
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from transformer_cli.data.filters.base import Pair, PairFilter
from transformer_cli.data.readers.languages import is_column_name

MIN_RATIO_LENGTH = 40
"""Characters of the longer side from which the ratio of lengths says something."""
MIN_REPETITION = 10
"""Words from which a side is checked for repetition."""
MAX_PERIOD = 6
"""Maximum words of a phrase whose repetition is recognised."""


@dataclass(frozen=True)
class TooLong(PairFilter):
    """A side of more than `max_words` words."""

    max_words: int
    key = "max_words"
    reason = "too many words"
    advice = "probably paragraphs or a missing line end; split them into sentences"

    def rejects(self, pair: Pair) -> bool:
        # A text has no more words than characters.
        return (len(pair.src) > self.max_words and len(pair.src_words) > self.max_words) or (
            len(pair.tgt) > self.max_words and len(pair.tgt_words) > self.max_words
        )


@dataclass(frozen=True)
class LengthRatio(PairFilter):
    """Lengths in characters whose ratio differs from that of the corpus by a factor of more than `ratio`.

    `log_ratio` is the median of log(target length / source length) over the corpus, so that Chinese, which needs
    few characters, is treated as German is.
    """

    ratio: float
    log_ratio: float
    key = "char_ratio"
    reason = "lengths differ"
    advice = "probably not translations of each other"

    def rejects(self, pair: Pair) -> bool:
        src, tgt = len(pair.src), len(pair.tgt)
        if max(src, tgt) < MIN_RATIO_LENGTH:
            return False
        return abs(math.log(tgt / src) - self.log_ratio) > math.log(self.ratio)


@dataclass(frozen=True)
class Truncated(PairFilter):
    """One side ends in punctuation; the other does not and has less than `share` of the expected length.

    Only for corpora where the two sides agree about punctuation at the end; see `CorpusProfile.ends_agree`.
    """

    share: float
    log_ratio: float
    key = "truncated"
    reason = "truncated"
    advice = "one side seems cut off; the model learns to stop early"

    def rejects(self, pair: Pair) -> bool:
        src_ends, tgt_ends = ends_in_punctuation(pair.src), ends_in_punctuation(pair.tgt)
        if src_ends == tgt_ends or max(len(pair.src), len(pair.tgt)) < MIN_RATIO_LENGTH:
            return False
        surplus = math.log(len(pair.tgt) / len(pair.src)) - self.log_ratio
        return (surplus if src_ends else -surplus) < math.log(self.share)


@dataclass(frozen=True)
class Repetition(PairFilter):
    """A side of which more than `share` repeats the words before it: `no no no no`, `ha ha ha`."""

    share: float
    key = "repetition"
    reason = "repetition"
    advice = "the same words over and over; the model learns to loop"

    def rejects(self, pair: Pair) -> bool:
        return self._repeats(pair.src_words) or self._repeats(pair.tgt_words)

    def _repeats(self, words: Sequence[str]) -> bool:
        count = len(words)
        # Of the words of a side that repeats itself few are different.
        if count < MIN_REPETITION or len(set(words)) > count - self.share * (count - MAX_PERIOD):
            return False
        return any(
            _repeated(words, period) > self.share * (count - period)
            for period in range(1, min(MAX_PERIOD, count // 3) + 1)
        )


def _repeated(words: Sequence[str], period: int) -> int:
    """Words that equal the one `period` words before, in runs of at least a period.

    In `the cat and the dog and the cow` every third word is repeated, but no run of three is.
    """
    same = map(operator.eq, words[period:], words)
    runs = (sum(1 for _ in run) for equal, run in groupby(same) if equal)
    return sum(length for length in runs if length >= period)


@dataclass(frozen=True)
class HeaderRow(PairFilter):
    """The names of the columns, in the first line of a text that was taken from a table."""

    key = "header"
    reason = "header row"
    advice = "the names of the columns of a table, not a sentence"

    def rejects(self, pair: Pair) -> bool:
        return pair.line == 1 and is_column_name(pair.src) and is_column_name(pair.tgt)


def ends_in_punctuation(text: str) -> bool:
    """Whether the last character is punctuation."""
    return unicodedata.category(text[-1])[0] == "P"

