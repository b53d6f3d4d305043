"""Does a translation depend on what else is in the batch? Measured on the user's own model and text.

Sums are made in another order for another batch, so scores differ in their last digits, and two
hypotheses whose scores agree to those digits may change places. In float64 that is a matter of 1e-15.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

BATCH_SIZES = (1, 7, 64, 512)
"""Sentences of about average length in a batch."""


@dataclass(frozen=True)
class Invariance:
    """Of one way of batching: how many lines came out as in the order and batches of the run."""

    name: str
    same: int
    lines: int
    first: int | None
    """Index of the first line that differs."""


def check_invariance(
    translate: Callable[[Sequence[str], int], list[str]], lines: Sequence[str], average: float, seed: int = 1
) -> list[Invariance]:
    """Translate the same lines in other orders and batches.

    Args:
        translate: (lines, source tokens of a batch) -> translations.
        lines: the text. average: its pieces a line.
    """
    standard = translate(lines, round(average * 64))

    def compare(name: str, order: Sequence[int], batch_tokens: int) -> Invariance:
        texts = translate([lines[i] for i in order], batch_tokens)
        differ = sorted(i for i, text in zip(order, texts, strict=True) if text != standard[i])
        return Invariance(name, len(order) - len(differ), len(order), differ[0] if differ else None)

    shuffled = list(range(len(lines)))
    random.Random(seed).shuffle(shuffled)
    found = [
        compare(f"shuffled, batches of {size}", shuffled, round(average * size) if size > 1 else 1)
        for size in BATCH_SIZES
    ]
    return [*found, compare("every second line alone", range(1, len(lines), 2), round(average * 64))]
