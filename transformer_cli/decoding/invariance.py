"""Batch invariance: does a translation depend on the rest of its batch? Measured on the user's model and text.

Another batch changes the order of summation, so scores differ in their last digits, and two
hypotheses whose scores agree up to those digits may change places. In float64 the differences are
about 1e-15.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

BATCH_SIZES = (1, 7, 64, 512)
"""Sentences of average length per batch."""


@dataclass(frozen=True)
class Invariance:
    """The result of one way of batching.

    Attributes:
        name: description of order and batch size.
        same: number of lines with the same translation as in the reference batching. lines: number
            of all lines.
        first: index of the first line that differs, None if there is none.
    """

    name: str
    same: int
    lines: int
    first: int | None


def check_invariance(
    translate: Callable[[Sequence[str], int], list[str]], lines: Sequence[str], average: float, seed: int = 1
) -> list[Invariance]:
    """Translate the same lines in other orders and batches, and count the translations that stay the same.

    Args:
        translate: (lines, source tokens per batch) -> translations.
        lines: the text. average: its mean number of source tokens per line.
    """
    reference = translate(lines, round(average * 64))

    def compare(name: str, order: Sequence[int], batch_tokens: int) -> Invariance:
        texts = translate([lines[i] for i in order], batch_tokens)
        differ = sorted(i for i, text in zip(order, texts, strict=True) if text != reference[i])
        return Invariance(name, len(order) - len(differ), len(order), differ[0] if differ else None)

    shuffled = list(range(len(lines)))
    random.Random(seed).shuffle(shuffled)
    results = [
        compare(f"shuffled, batches of {size}", shuffled, round(average * size) if size > 1 else 1)
        for size in BATCH_SIZES
    ]
    return [*results, compare("every second line alone", range(1, len(lines), 2), round(average * 64))]
