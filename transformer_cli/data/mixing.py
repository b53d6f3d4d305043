"""Mixing: the share of each corpus in an epoch, when the training text has several files.

The pairs of an epoch are a pure function of (corpus, shares, seed, epoch), so a resumed run reads the same pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transformer_cli.data.batching import EpochCorpora
from transformer_cli.data.corpus import ParallelText
from transformer_cli.data.store import EncodedCorpus
from transformer_cli.errors import ConfigError, DataError
from transformer_cli.schema.data import MixingConfig


@dataclass(frozen=True)
class MixedCorpora:
    """Maps an epoch to as many pairs as `corpora` has, with a fixed number from each file.

    A file with fewer pairs than its share is repeated as a whole, and the rest is drawn at random without
    replacement; so is the part of a file with more pairs.

    Attributes:
        corpora: the corpus of each epoch before mixing, always with the same pairs in the same order.
        files: `[N]`, the number of the file of each pair.
        counts: number of pairs of each file in an epoch.
    """

    corpora: EpochCorpora
    files: NDArray[np.int64]
    counts: Sequence[int]
    seed: int

    def __call__(self, epoch: int) -> EncodedCorpus:
        random = np.random.default_rng([self.seed, epoch, len(self.counts)])
        drawn = []
        for file, count in enumerate(self.counts):
            rows = np.flatnonzero(self.files == file)
            if count:
                drawn += [rows] * (count // len(rows))
                drawn.append(np.sort(random.choice(rows, size=count % len(rows), replace=False)))
        return self.corpora(epoch).select(np.concatenate(drawn))


def files_of_pairs(text: ParallelText, lines: NDArray[np.int64]) -> NDArray[np.int64]:
    """The number of the file, in the order of `text.files`, of each pair; `lines` are rows of the text."""
    rows = text.file_rows(np.asarray(lines))
    ends = np.cumsum([file.pairs for file in text.files])
    return np.searchsorted(ends, rows, side="right")


def pairs_per_file(config: MixingConfig, text: ParallelText, files: NDArray[np.int64]) -> list[int]:
    """How many pairs of each file an epoch has; they sum to the number of pairs.

    With a temperature T the share of a file of n pairs is proportional to n ** (1 / T) (Arivazhagan et al. 2019,
    section 4.2).

    Raises:
        ConfigError: the number of weights is not that of the files.
        DataError: a file with a share has no pair left.
    """
    sizes = np.bincount(files, minlength=len(text.files))
    weights = np.array(config.weights or sizes ** (1 / config.temperature), dtype=np.float64)
    if len(weights) != len(sizes):
        raise ConfigError(
            f"data.mixing.weights has {len(weights)} numbers, the corpus has {len(sizes)} files",
            hint="give one number for each file: first the --src files, then the --data files; with corpora, for each "
            "direction of each corpus",
        )
    for file, size, weight in zip(text.files, sizes, weights, strict=True):
        if weight and not size:
            raise DataError(f"{file.path}: no pair is left after filtering", hint="leave it out, or set its weight to 0")
    ends = np.round(np.cumsum(weights) / weights.sum() * len(files)).astype(np.int64)
    return np.diff(ends, prepend=0).tolist()
