"""Holding out a validation set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from transformer_cli.data.corpus import ParallelText
from transformer_cli.data.filters.duplicates import hash_texts
from transformer_cli.errors import DataError

HELD_OUT_PAIRS = 1000
HELD_OUT_SHARE = 0.05
"""Without validation files, this number of pairs, at most this share, is held out of the training text."""
MIN_HELD_OUT_PAIRS = 100
"""If several corpora share the number above, at least this number, at most the same share, is held out of each."""


def hold_out_validation(text: ParallelText, seed: int) -> tuple[ParallelText, ParallelText]:
    """Split into (training, validation), drawn at random by `seed`, both in file order.

    A pair that occurs twice would be in both sets; it is not held out if there are enough others. Pairs are compared
    by hashes of 64 bits. If the directions of the files are given, some pairs of each file are held out: the same
    ones of a file that is used in both directions, so that none is in the training text the other way round.

    Raises:
        DataError: fewer than two pairs.
    """
    if len(text) < 2:
        raise DataError(
            f"{len(text)} sentence pairs are too few to hold out a validation set",
            hint="add pairs, or give --valid-src and --valid-tgt",
        )
    hashes, filled = np.empty(len(text), dtype=np.uint64), np.empty(len(text), dtype=bool)
    start = 0
    for part_hashes, part_filled in text.map_parts(_hashes):
        stop = start + len(part_hashes)
        hashes[start:stop], filled[start:stop] = part_hashes, part_filled
        start = stop
    unique = filled & ~_repeated(hashes)
    del hashes
    parts = [part for _, _, part in text.direction_rows()]
    wanted = HELD_OUT_PAIRS if len(parts) == 1 else max(MIN_HELD_OUT_PAIRS, HELD_OUT_PAIRS // len(parts))
    held = []
    for part in parts:
        rows = slice(part.start, part.stop)
        count = max(1, min(wanted, int(len(part) * HELD_OUT_SHARE)))
        chosen = unique[rows] if np.count_nonzero(unique[rows]) > count else filled[rows]
        usable = np.flatnonzero(chosen).astype(np.int32 if len(text) < 2**31 else np.int64)
        if len(parts) > 1 and len(usable) < 2:
            continue  # too few pairs to do without one
        count = min(count, len(usable) - 1) or 1
        held += sorted((np.random.default_rng(seed).permutation(usable)[:count] + part.start).tolist())
    return text.without(held), text.select(held)


def _hashes(_: int, src: Sequence[str], tgt: Sequence[str]) -> tuple[NDArray[np.uint64], list[bool]]:
    """The hash of each pair, and whether it has text on both sides."""
    pairs = list(zip(src, tgt, strict=True))
    return hash_texts(f"{s}\n{t}" for s, t in pairs), [bool(s.strip() and t.strip()) for s, t in pairs]


def _repeated(hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Whether each of the hashes occurs more than once."""
    ordered = np.sort(hashes)
    repeated = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    found = np.zeros(len(hashes), dtype=bool)
    if len(repeated):
        for start in range(0, len(hashes), 1 << 20):
            part = hashes[start : start + (1 << 20)]
            place = np.minimum(np.searchsorted(repeated, part), len(repeated) - 1)
            found[start : start + (1 << 20)] = repeated[place] == part
    return found
