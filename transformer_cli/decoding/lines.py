"""From a line of text to what search takes: pieces that fit the model, and what a user wishes of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from transformer_cli.batch import Ids
from transformer_cli.decoding.constraints import AvoidedPhrases, Phrase
from transformer_cli.decoding.search import Rule

SENTENCE_END = re.compile(r"(?<=[.!?。！？…])[\"')\]»“”]*\s*")


class TextCodec(Protocol):
    """What the translator needs of a tokenizer."""

    def encode(self, lines: Sequence[str]) -> list[Ids]: ...

    def decode(self, sentences: Sequence[Ids]) -> list[str]: ...

    def surfaces(self) -> list[bytes]: ...


@dataclass(frozen=True)
class Piece:
    """A line, or a part of one that is too long. `is_cut`: it does not end where a sentence ends."""

    text: str
    ids: Ids
    is_cut: bool = False


@dataclass(frozen=True)
class Wishes:
    """What a user wants of a translation beyond the options of search.

    Attributes:
        n_best: how many translations of each line. scored: whether anybody looks at log-probabilities.
        align: whether word alignments are wanted.
        terms: (source, target): where the source term stands in a line, the target must stand in its translation.
        avoid: phrases that no translation may hold.
    """

    n_best: int = 1
    scored: bool = True
    align: bool = False
    terms: tuple[tuple[str, str], ...] = ()
    avoid: tuple[str, ...] = ()

    def phrases(self, text: str, tokenizer: TextCodec) -> tuple[Phrase, ...]:
        """Token sequences that the translation of `text` must hold."""
        wanted = [target for source, target in self.terms if _stands_in(source, text)]
        encoded = tokenizer.encode(wanted) if wanted else []
        return tuple(dict.fromkeys(tuple(int(i) for i in ids) for ids in encoded if len(ids)))

    def rules(self, tokenizer: TextCodec) -> list[Rule]:
        """Rules that hold for every line."""
        return [AvoidedPhrases(self.avoid, tokenizer.surfaces())] if self.avoid else []


def pieces_of(line: str, ids: Ids, tokenizer: TextCodec, room: int) -> list[Piece]:
    """The line as it is if its ids fit into `room`; else sentence by sentence, and what is longer still cut.

    A model trained on sentences that is given a paragraph tends to translate its beginning and stop. A blank
    line has no pieces.
    """
    if not line.strip() or not len(ids):
        return []
    if len(ids) <= room:
        return [Piece(line, ids)]
    return [piece for sentence in _sentences(line) for piece in _cut(sentence, tokenizer, room)]


def _cut(text: str, tokenizer: TextCodec, room: int) -> list[Piece]:
    (ids,) = tokenizer.encode([text])
    if len(ids) <= room:
        return [Piece(text, ids)] if len(ids) else []
    parts = [ids[i : i + room] for i in range(0, len(ids), room)]
    texts = tokenizer.decode(parts)
    return [Piece(part_text, part, is_cut=True) for part_text, part in zip(texts, parts, strict=True)]


def _sentences(line: str) -> list[str]:
    ends = [match.end() for match in SENTENCE_END.finditer(line)] + [len(line)]
    starts = [0, *ends]
    return [line[a:b] for a, b in zip(starts, ends, strict=False) if b > a]


def _stands_in(term: str, text: str) -> bool:
    """As words, whatever the case."""
    return bool(re.search(rf"(?<!\w){re.escape(term)}(?!\w)", text, re.IGNORECASE))
