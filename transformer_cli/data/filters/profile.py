"""What is usual in a corpus, estimated from a sample: filters reject what is unusual."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median

from transformer_cli.data.corpus import ParallelText
from transformer_cli.data.filters.alignment import AlignmentModel
from transformer_cli.data.filters.base import Pair
from transformer_cli.data.filters.language import SideWords, prevailing_scripts
from transformer_cli.data.line_file import RemainingRows
from transformer_cli.data.filters.shape import ends_in_punctuation

SAMPLE = 50_000
"""Maximum number of pairs of the sample."""
SCRIPT_SAMPLE = 2000
"""Pairs by which the scripts are determined."""
MIN_AGREEMENT = 0.95
"""Share of pairs that must agree about punctuation at the end for `Truncated` to be used."""
MONOLINGUAL = 0.5
"""Overlap of the word frequencies of the two sides from which they are taken for one language."""
MIN_SAMPLE = 100
"""Pairs from which the words of the two sides are compared."""


@dataclass(frozen=True)
class CorpusProfile:
    """Statistics of a sample of a corpus; each is computed when it is first needed."""

    sample: Sequence[Pair]

    @staticmethod
    def draw(pairs: Iterable[Pair], seed: int = 1) -> CorpusProfile:
        """Draw a sample of at most `SAMPLE` pairs that are not blank, uniformly from a stream (algorithm R)."""
        rng, seen = random.Random(seed), 0
        sample: list[Pair] = []
        for pair in pairs:
            if pair.is_blank:
                continue
            seen += 1
            if len(sample) < SAMPLE:
                sample.append(pair)
            elif (place := rng.randrange(seen)) < SAMPLE:
                sample[place] = pair
        return CorpusProfile(sample)

    @staticmethod
    def of_text(text: ParallelText, seed: int = 1) -> CorpusProfile:
        """`draw` from a text: the same sample, of which only the pairs that are drawn become objects."""
        blank = [row for rows in text.map_parts(_blank_rows) for row in rows]
        filled = RemainingRows(len(text), blank)
        rng, rows = random.Random(seed), list(range(min(SAMPLE, len(filled))))
        for seen in range(SAMPLE + 1, len(filled) + 1):
            if (place := rng.randrange(seen)) < SAMPLE:
                rows[place] = seen - 1
        rows = [filled[i] for i in rows]
        pairs = {row: next(text.pairs_of(row, [text.src[row]], [text.tgt[row]])) for row in sorted(rows)}
        return CorpusProfile([pairs[row] for row in rows])

    @cached_property
    def log_ratio(self) -> float:
        """Median of log(target length / source length), in characters."""
        return median([math.log(len(pair.tgt) / len(pair.src)) for pair in self.sample] or [0.0])

    @cached_property
    def scripts(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The prevailing scripts of source and target."""
        part = self.sample[:: max(1, len(self.sample) // SCRIPT_SAMPLE)]
        return prevailing_scripts(pair.src for pair in part), prevailing_scripts(pair.tgt for pair in part)

    @cached_property
    def ends_agree(self) -> bool:
        """Whether nearly all pairs agree about whether they end in punctuation."""
        agree = sum(ends_in_punctuation(pair.src) == ends_in_punctuation(pair.tgt) for pair in self.sample)
        return agree >= MIN_AGREEMENT * len(self.sample)

    @cached_property
    def words(self) -> SideWords | None:
        """The words of the two sides; None if the sample is too small."""
        if len(self.sample) < MIN_SAMPLE:
            return None
        return SideWords.count((pair.src_words for pair in self.sample), (pair.tgt_words for pair in self.sample))

    @cached_property
    def is_monolingual(self) -> bool:
        """Whether both sides are in one language, as for correcting errors: equal sides are then no fault."""
        return self.words is not None and self.words.overlap() > MONOLINGUAL

    @cached_property
    def alignment(self) -> AlignmentModel | None:
        """The word-alignment model; None if the sample does not allow one."""
        return AlignmentModel.estimate(self.sample)


def _blank_rows(start: int, src: Sequence[str], tgt: Sequence[str]) -> list[int]:
    return [start + i for i, (s, t) in enumerate(zip(src, tgt, strict=True)) if not (s.strip() and t.strip())]
