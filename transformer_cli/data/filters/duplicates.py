"""Filters that remember text: duplicates, near-duplicates, and overlap with a test set.

A text is remembered by a hash of 64 bits, 8 bytes in a sorted array. Of ten million texts, two different ones have
the same hash with a probability of 3 in a million.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from transformer_cli.data.filters.base import Pair, split_words

MERGE = 1 << 16
"""Size from which the newest hashes of a set become a level of their own."""
MIN_OVERLAP_WORDS = 4
"""Words from which one side alone shows that a pair is in the test set."""


class HashSet:
    """A set of 64-bit hashes in sorted arrays that are merged as they grow: 8 bytes a hash, 16 while merging."""

    def __init__(self) -> None:
        self._levels: list[NDArray[np.uint64]] = []

    def contains(self, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Whether each of the hashes is in the set."""
        found = np.zeros(len(hashes), dtype=bool)
        for level in self._levels:
            place = np.minimum(np.searchsorted(level, hashes), len(level) - 1)
            found |= level[place] == hashes
        return found

    def add(self, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Add hashes; whether each was in the set before, or is a repetition in `hashes`."""
        known = self.contains(hashes)
        first = np.zeros(len(hashes), dtype=bool)
        first[np.unique(hashes, return_index=True)[1]] = True
        new = np.sort(hashes[first & ~known])
        if len(new):
            self._levels.append(new)
        # Levels at least double in size, so that there are few.
        while len(self._levels) > 1 and len(self._levels[-2]) < max(MERGE, 2 * len(self._levels[-1])):
            last = self._levels.pop()
            merged = np.concatenate([self._levels.pop(), last])
            merged.sort(kind="stable")
            self._levels.append(merged)
        return known | ~first


class RememberingFilter:
    """Base of the filters that compare each pair with all earlier ones, by a hash that needs no other pair."""

    key: str
    reason: str
    advice: str

    def __init__(self) -> None:
        self._seen = HashSet()

    def hash_pairs(self, pairs: Sequence[Pair]) -> NDArray[np.uint64]:
        """The hash of each of the pairs."""
        raise NotImplementedError

    def flag_hashes(self, hashes: NDArray[np.uint64]) -> list[bool]:
        """`flag` of the pairs that have these hashes."""
        return self._seen.add(hashes).tolist()

    def flag(self, pairs: Sequence[Pair]) -> list[bool]:
        return self.flag_hashes(self.hash_pairs(pairs))


class Duplicates(RememberingFilter):
    """Pairs that repeat an earlier pair word for word."""

    key = "duplicates"
    reason = "repeated pairs"
    advice = "harmless in small numbers; many repetitions of a pair outweigh the rest of the corpus"

    def hash_pairs(self, pairs: Sequence[Pair]) -> NDArray[np.uint64]:
        return hash_texts(f"{pair.src}\n{pair.tgt}" for pair in pairs)


class NearDuplicates(RememberingFilter):
    """Pairs that repeat an earlier pair except for case, punctuation and spaces.

    Numbers count: pairs that differ in a number teach to copy it.
    """

    key = "near_duplicates"
    reason = "near-duplicates"
    advice = "the same pair with another case or punctuation; many of them add little"

    def hash_pairs(self, pairs: Sequence[Pair]) -> NDArray[np.uint64]:
        return hash_texts(f"{skeleton(pair.src)}\n{skeleton(pair.tgt)}" for pair in pairs)


class Overlap:
    """Pairs that are in other texts, such as a test set: both sides, or one of four or more words.

    Args:
        texts: the lines of these texts, of both languages.
    """

    key = "overlap"
    reason = "also in the test set"
    advice = "scores on that test set would be too high; exclude these pairs from training"

    def __init__(self, texts: Iterable[str]) -> None:
        self._known = HashSet()
        batch: list[str] = []
        for text in texts:
            if text.strip():
                batch.append(skeleton(text))
            if len(batch) == MERGE:
                self._known.add(hash_texts(batch))
                batch = []
        self._known.add(hash_texts(batch))

    def flag(self, pairs: Sequence[Pair]) -> list[bool]:
        src = self._known.contains(hash_texts(skeleton(pair.src) for pair in pairs))
        tgt = self._known.contains(hash_texts(skeleton(pair.tgt) for pair in pairs))
        return [
            bool(s and t) or (s and self._is_long(pair.src)) or (t and self._is_long(pair.tgt))
            for s, t, pair in zip(src.tolist(), tgt.tolist(), pairs, strict=True)
        ]

    @staticmethod
    def _is_long(text: str) -> bool:
        return len(split_words(text)) >= MIN_OVERLAP_WORDS


class _Skeleton(dict[int, str | None]):
    """Table for `str.translate` that removes punctuation, symbols and spaces; filled as needed."""

    def __missing__(self, code: int) -> str | None:
        removed = unicodedata.category(chr(code))[0] in "PSZC"
        value = None if removed else chr(code)
        self[code] = value
        return value


_SKELETON = _Skeleton()


def skeleton(text: str) -> str:
    """The text in lower case, without punctuation and spaces; the text itself if nothing is left."""
    return text.lower().translate(_SKELETON) or text


def hash_texts(texts: Iterable[str]) -> NDArray[np.uint64]:
    """64-bit hashes of texts, the same in every process."""
    digests = b"".join(
        hashlib.blake2b(text.encode("utf-8", errors="surrogatepass"), digest_size=8).digest() for text in texts
    )
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)
