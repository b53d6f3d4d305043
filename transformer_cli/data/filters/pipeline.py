"""The filters of a configuration, and their application to a stream of pairs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from transformer_cli.data.filters.alignment import Misaligned
from transformer_cli.data.filters.base import Filter, Pair
from transformer_cli.data.filters.content import (
    CopiedSource,
    DamagedText,
    NumberMismatch,
    PlaceholderMismatch,
    TagMismatch,
    UrlMismatch,
)
from transformer_cli.data.filters.duplicates import Duplicates, NearDuplicates, Overlap, RememberingFilter
from transformer_cli.data.filters.language import SwappedSides, UntranslatedSide, WrongLanguage, WrongScript
from transformer_cli.data.filters.profile import CorpusProfile
from transformer_cli.data.filters.shape import HeaderRow, LengthRatio, Repetition, TooLong, Truncated
from transformer_cli.schema.data import FiltersConfig

BATCH = 1024
"""Pairs that are judged at a time."""
VERSION = 1
"""Raised when filters change, so that stored results are computed again."""
BLANK = "blank"
"""Reason of pairs without text on a side, which no filter sees."""


def build_filters(
    config: FiltersConfig, profile: CorpusProfile, excluded: Iterable[str] | None = None
) -> list[Filter]:
    """The filters that a configuration turns on, in the order in which they are applied.

    Args:
        profile: of the corpus.
        excluded: the lines of texts whose pairs are to be excluded; None = no such texts.

    Raises:
        ConfigError: the filter of languages cannot be used.
    """
    c = config
    filters: list[Filter | None] = [
        HeaderRow() if c.header else None,
        TooLong(c.max_words) if c.max_words else None,
        DamagedText() if c.damaged else None,
        CopiedSource(c.copies) if c.copies and not profile.is_monolingual else None,
        WrongScript(c.script, profile.scripts) if c.script else None,
        LengthRatio(c.char_ratio, profile.log_ratio) if c.char_ratio else None,
        Truncated(c.truncated, profile.log_ratio) if c.truncated and profile.ends_agree else None,
        Repetition(c.repetition) if c.repetition else None,
        UrlMismatch() if c.urls else None,
        PlaceholderMismatch() if c.placeholders else None,
        TagMismatch() if c.tags else None,
        NumberMismatch() if c.numbers else None,
        SwappedSides(profile.words) if c.swapped and profile.words else None,
        UntranslatedSide(profile.words) if c.untranslated and profile.words else None,
        WrongLanguage(c.languages) if c.languages else None,
        Misaligned(c.alignment, profile.alignment) if c.alignment and profile.alignment else None,
        Overlap(excluded) if excluded is not None else None,
        Duplicates() if c.duplicates else None,
        NearDuplicates() if c.near_duplicates else None,
    ]
    return [one for one in filters if one is not None]


def split_filters(filters: Sequence[Filter]) -> tuple[list[Filter], list[RememberingFilter]]:
    """The filters that need no other pairs, and those that compare pairs with earlier ones, which must come last."""
    pure = [one for one in filters if not isinstance(one, RememberingFilter)]
    remembering = [one for one in filters if isinstance(one, RememberingFilter)]
    assert [*pure, *remembering] == list(filters)
    return pure, remembering


@dataclass(frozen=True)
class Judgement:
    """What is known of some pairs without the pairs before them.

    Attributes:
        reasons: why each pair is excluded; empty for pairs that are kept so far.
        hashes: of the pairs that are kept so far, for each filter that compares them with earlier pairs.
    """

    reasons: list[str]
    hashes: list[NDArray[np.uint64]]


class Judge:
    """Applies filters in two steps, of which the first is the same in any process and any order of the pairs.

    A filter sees only the pairs that those before it keep: a pair is no repetition of one that was excluded.
    """

    def __init__(self, filters: Sequence[Filter]) -> None:
        """`filters`: as `build_filters` orders them."""
        self._pure, self._remembering = split_filters(filters)

    def judge_alone(self, pairs: Sequence[Pair]) -> Judgement:
        """Apply the filters that need no other pairs to up to `BATCH` pairs."""
        reasons = [BLANK if pair.is_blank else "" for pair in pairs]
        for one in self._pure:
            left = [i for i, reason in enumerate(reasons) if not reason]
            for i, excluded in zip(left, one.flag([pairs[i] for i in left]), strict=True):
                if excluded:
                    reasons[i] = one.reason
        kept = [pair for pair, reason in zip(pairs, reasons, strict=True) if not reason]
        return Judgement(reasons, [one.hash_pairs(kept) for one in self._remembering])

    def compare(self, judgement: Judgement) -> list[str]:
        """The final reasons. Judgements must be given in the order of the pairs, each once."""
        reasons = list(judgement.reasons)
        left = np.array([i for i, reason in enumerate(reasons) if not reason], dtype=np.int64)
        kept = np.ones(len(left), dtype=bool)
        for one, hashes in zip(self._remembering, judgement.hashes, strict=True):
            places = np.flatnonzero(kept)
            flags = np.array(one.flag_hashes(hashes[places]), dtype=bool)
            kept[places[flags]] = False
            for i in left[places[flags]].tolist():
                reasons[i] = one.reason
        return reasons


def judge(pairs: Iterable[Pair], filters: Sequence[Filter]) -> Iterator[tuple[Pair, str]]:
    """Each pair, in order, with the reason of the first filter that excludes it; an empty one for pairs to keep."""
    stream, both = iter(pairs), Judge(filters)
    while batch := list(islice(stream, BATCH)):
        yield from zip(batch, both.compare(both.judge_alone(batch)), strict=True)
