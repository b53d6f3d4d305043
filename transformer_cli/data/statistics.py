"""Lengths, words and signs of a shift of a corpus that is read as a stream, with bounded memory."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transformer_cli.data.corpus_stream import CorpusStream
from transformer_cli.data.filters.base import Pair
from transformer_cli.data.filters.duplicates import HashSet, hash_texts
from transformer_cli.data.survey import BLOCK, find_shifted_blocks

QUANTILES = {"5 %": 0.05, "median": 0.5, "95 %": 0.95, "99 %": 0.99}
"""Columns of the table of lengths."""
MAX_KNOWN_WORDS = 500_000
"""Words that a process remembers in order not to report them again."""
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class BatchStatistics:
    """Lengths and words of a batch of pairs; of each, for source and target.

    Attributes:
        files, lines: of each pair: index of its file, and number of its line in it, from 1.
        words, characters: numbers in each pair.
        new_words: hashes of its different words, without some that were reported before.
    """

    files: Ints
    lines: Ints
    words: tuple[Ints, Ints]
    characters: tuple[Ints, Ints]
    new_words: tuple[NDArray[np.uint64], NDArray[np.uint64]]


class WordHashes:
    """Computes `BatchStatistics`, in any process; hashes each word once in most cases."""

    def __init__(self) -> None:
        self._known: tuple[set[str], set[str]] = set(), set()

    def count(self, pairs: Sequence[Pair]) -> BatchStatistics:
        """The statistics of a batch."""
        words = [pair.src_words for pair in pairs], [pair.tgt_words for pair in pairs]
        new = []
        for known, side in zip(self._known, words, strict=True):
            found = sorted(set().union(*side) - known)
            new.append(hash_texts(found))
            if len(known) > MAX_KNOWN_WORDS:
                known.clear()
            known.update(found)
        return BatchStatistics(
            files=np.array([pair.file for pair in pairs]),
            lines=np.array([pair.line for pair in pairs]),
            words=(_lengths(words[0]), _lengths(words[1])),
            characters=(_lengths([pair.src for pair in pairs]), _lengths([pair.tgt for pair in pairs])),
            new_words=(new[0], new[1]),
        )


class CorpusStatistics:
    """Sums of `BatchStatistics`, which are added in order. Memory: 8 bytes for each different word."""

    def __init__(self) -> None:
        self.pairs = 0
        self._counts: dict[str, Counter[int]] = {
            f"{side} {unit}": Counter() for unit in ("words", "characters") for side in ("source", "target")
        }
        self._words = HashSet(), HashSet()
        self._types = [0, 0]
        self._longest = [(0, 1), (0, 1)]
        # The first pair of each block: its file and line.
        self._blocks: tuple[array[int], array[int]] = array("i"), array("q")
        self._pending = [np.empty(0, dtype=np.int64)] * 2
        self._shifted: list[int] = []

    def add(self, batch: BatchStatistics) -> None:
        """Add the next batch."""
        first = -self.pairs % BLOCK
        self._blocks[0].extend(batch.files[first::BLOCK].tolist())
        self._blocks[1].extend(batch.lines[first::BLOCK].tolist())
        self.pairs += len(batch.lines)
        for unit, sides in (("words", batch.words), ("characters", batch.characters)):
            for side, lengths in zip(("source", "target"), sides, strict=True):
                values, counts = np.unique(lengths, return_counts=True)
                self._counts[f"{side} {unit}"].update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
        for number, (lengths, new) in enumerate(zip(batch.words, batch.new_words, strict=True)):
            row = int(lengths.argmax())
            if lengths[row] > self._longest[number][0]:
                self._longest[number] = int(lengths[row]), int(batch.lines[row])
            self._types[number] += int(np.count_nonzero(~self._words[number].add(new)))
        self._pending = [np.concatenate(both) for both in zip(self._pending, batch.characters, strict=True)]
        self._find_shifted(len(self._pending[0]) // BLOCK * BLOCK)

    def find_shifted(self) -> list[int]:
        """First rows of the blocks that seem to be shifted, see `find_shifted_blocks`; no batch may follow."""
        self._find_shifted(len(self._pending[0]))
        return self._shifted

    def _find_shifted(self, count: int) -> None:
        """Examine `count` of the pending pairs."""
        first = self.pairs - len(self._pending[0])
        src, tgt = (side[:count].tolist() for side in self._pending)
        self._shifted += [first + row for row in find_shifted_blocks(src, tgt)]
        self._pending = [side[count:] for side in self._pending]

    def place(self, row: int, stream: CorpusStream) -> tuple[int, str]:
        """Line and place of a row at the beginning of a block."""
        file, line = self._blocks[0][row // BLOCK], self._blocks[1][row // BLOCK]
        return line, f"{stream.sources[file].path}, line {line:,}"

    @property
    def total_words(self) -> tuple[int, int]:
        src, tgt = (
            sum(length * count for length, count in self._counts[f"{side} words"].items())
            for side in ("source", "target")
        )
        return src, tgt

    @property
    def types(self) -> tuple[int, int]:
        return self._types[0], self._types[1]

    @property
    def longest(self) -> tuple[int, int]:
        return self._longest[0][1], self._longest[1][1]

    def table(self) -> dict[str, dict[str, int]]:
        """Quantiles of the lengths of each side."""
        rows = {}
        for name, counts in self._counts.items():
            lengths = np.array(sorted(counts))
            ends = np.cumsum([counts[length] for length in lengths.tolist()])
            # The value at index floor(quantile * (pairs - 1)) of the sorted lengths.
            ranks = np.floor(np.array(list(QUANTILES.values())) * (self.pairs - 1))
            found = lengths[np.searchsorted(ends, ranks, side="right")]
            rows[name] = {**dict(zip(QUANTILES, found.tolist(), strict=True)), "longest": int(lengths[-1])}
        return rows


def _lengths(values: Sequence[Sequence[str]] | Sequence[str]) -> Ints:
    return np.fromiter(map(len, values), dtype=np.int64, count=len(values))
