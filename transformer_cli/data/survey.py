"""What the lines of a parallel text tell before training: its size, and signs that its sides do not fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transformer_cli.data.corpus import ParallelText
from transformer_cli.data.line_file import LineFile
from transformer_cli.data.normalization import Normalizer
from transformer_cli.unicode_scripts import UNSPACED

BLOCK, MIN_BLOCK = 400, 200
"""Lines per block whose lengths are compared, and the smallest block that gives a reliable correlation."""
PART = 20 * BLOCK
"""Pairs that are examined at a time."""
PLACES = 5
"""Maximum number of pairs whose places are kept."""


@dataclass
class Survey:
    """Counts over the pairs of a text.

    Attributes:
        pairs: number of pairs.
        words, characters: of the target: words between spaces, and characters of scripts without spaces.
        one_sided: pairs with one blank side; `one_sided_rows` are the first of them.
        copies: pairs whose target equals their source.
        shifted: first row of the first block that seems to be shifted; None if there is none.
    """

    pairs: int = 0
    words: int = 0
    characters: int = 0
    one_sided: int = 0
    one_sided_rows: list[int] = field(default_factory=list)
    copies: int = 0
    shifted: int | None = None

    def add(self, other: Survey) -> None:
        """Add the counts of the pairs that follow."""
        for name in ("pairs", "words", "characters", "one_sided", "copies"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.one_sided_rows = (self.one_sided_rows + other.one_sided_rows)[:PLACES]
        self.shifted = other.shifted if self.shifted is None else self.shifted

    def warnings(self, text: ParallelText, name: str) -> list[str]:
        """Warnings about the text, which is called `name`."""
        found = []
        if self.one_sided:
            more = "; ..." if self.one_sided > PLACES else ""
            shown = "; ".join(map(text.location, self.one_sided_rows)) + more
            found.append(f"{self.one_sided:,} {name} pairs are blank on one side ({shown}): check the alignment")
        if self.shifted is not None:
            found.append(
                f"the {name} files seem to be shifted against each other near {text.location(self.shifted)}; "
                "run transformer-cli check for details"
            )
        if self.copies > self.pairs / 2:
            found.append(
                f"in {self.copies:,} of {self.pairs:,} {name} pairs the target equals the source; "
                "check that --src and --tgt are different files"
            )
        return found


def survey_text(text: ParallelText) -> Survey:
    """Examine all pairs of a text, on all cores."""
    total = Survey()
    for part in text.map_parts(_survey, PART):
        total.add(part)
    return total


def _survey(start: int, src: Sequence[str], tgt: Sequence[str]) -> Survey:
    src_blank, tgt_blank = ([not line.strip() for line in side] for side in (src, tgt))
    one_sided = [start + i for i, (s, t) in enumerate(zip(src_blank, tgt_blank, strict=True)) if s != t]
    spaced, characters = UNSPACED.subn(" ", "\n".join(tgt))
    sides = zip(src, tgt, src_blank, strict=True)
    shifted = find_shifted_blocks(list(map(len, src)), list(map(len, tgt)))
    return Survey(
        pairs=len(src),
        words=len(spaced.split()),
        characters=characters,
        one_sided=len(one_sided),
        one_sided_rows=one_sided[:PLACES],
        copies=sum(not blank and (s == t or s.strip() == t.strip()) for s, t, blank in sides),
        shifted=start + shifted[0] if shifted else None,
    )


def normalize_text(text: ParallelText, normalizer: Normalizer, directory: Path) -> ParallelText:
    """The text after its normalisation, in a temporary file in `directory`; the same text if nothing is changed.

    Raises:
        DiskError: no space in `directory`.
    """
    if normalizer.is_identity:
        return text
    src, tgt = LineFile(directory), LineFile(directory)
    parts = text.map_parts(lambda _, src, tgt: (list(map(normalizer, src)), list(map(normalizer, tgt))))
    for src_lines, tgt_lines in parts:
        src.extend(src_lines)
        tgt.extend(tgt_lines)
    return replace(text, src=src.finish(), tgt=tgt.finish())


def find_shifted_blocks(src_lengths: Sequence[int], tgt_lengths: Sequence[int]) -> list[int]:
    """First rows (from 0) of the blocks whose target is shifted by one to three lines.

    Lengths of translations, in characters, correlate with the lengths of their sources. A block is reported if the
    correlation of the log lengths is above 0.5 for a shift, and by more than 0.3 better than without it.
    """
    log_lengths = [np.log(np.asarray(side, dtype=np.float64) + 1.0) for side in (src_lengths, tgt_lengths)]
    shifted = []
    for first in range(0, len(src_lengths) - MIN_BLOCK + 1, BLOCK):
        src, tgt = (side[first : first + BLOCK] for side in log_lengths)
        unshifted = _correlation(src, tgt)
        for shift in range(1, 4):
            best = max(_correlation(src[shift:], tgt[:-shift]), _correlation(src[:-shift], tgt[shift:]))
            if best > 0.5 and best > unshifted + 0.3:
                shifted.append(first)
                break
    return shifted


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    if len(a) < 2 or min(a.std(), b.std()) < 1e-6:  # constant, up to rounding
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])
