"""What a filter is, and the pairs that it judges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from transformer_cli.unicode_scripts import UNSPACED


class Pair:
    """A sentence pair, stripped of white space at its ends, with its words.

    Attributes:
        line: number of its line in its file, from 1.
        file: index of that file in the corpus.
    """

    __slots__ = ("_src_words", "_tgt_words", "file", "line", "src", "tgt")

    def __init__(self, line: int, src: str, tgt: str, file: int = 0) -> None:
        self.line, self.file = line, file
        self.src, self.tgt = src.strip(), tgt.strip()
        self._src_words: list[str] | None = None
        self._tgt_words: list[str] | None = None

    @property
    def sides(self) -> tuple[str, str]:
        return self.src, self.tgt

    @property
    def src_words(self) -> list[str]:
        if self._src_words is None:
            self._src_words = split_words(self.src)
        return self._src_words

    @property
    def tgt_words(self) -> list[str]:
        if self._tgt_words is None:
            self._tgt_words = split_words(self.tgt)
        return self._tgt_words

    @property
    def is_blank(self) -> bool:
        """Whether a side has no text."""
        return not (self.src and self.tgt)


class Filter(Protocol):
    """Marks the pairs to exclude. Pairs come in the order of the corpus, in batches of any size.

    Attributes:
        key: the configuration key, in `data.filters`.
        reason: why pairs are excluded, in a few words.
        advice: what the reason means for the user, and what to do.
    """

    key: str
    reason: str
    advice: str

    def flag(self, pairs: Sequence[Pair]) -> list[bool]:
        """Whether to exclude each of the pairs, none of which is blank."""
        ...


class PairFilter:
    """Base of the filters that judge each pair alone."""

    def rejects(self, pair: Pair) -> bool:
        raise NotImplementedError

    def flag(self, pairs: Sequence[Pair]) -> list[bool]:
        return [self.rejects(pair) for pair in pairs]


def split_words(text: str) -> list[str]:
    """Split at spaces; each character of a script without spaces between words is a word."""
    if not text.isascii():
        text = UNSPACED.sub(r" \g<0> ", text)
    return text.split()
