"""From a line of text to what search takes: pieces that fit the model, and what a user wishes of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from transformer_cli.batch import UNK, TokenIds
from transformer_cli.decoding.constraints.phrases import ForbiddenPhrases, Phrase, starts_word
from transformer_cli.decoding.search.base import Rule
from transformer_cli.errors import DataError

SENTENCE_END = re.compile(r"(?<=[.!?…])[\"')\]»“”]*\s+|(?<=[。！？])[\"')\]»“”]*\s*")


class TextCodec(Protocol):
    """What the translator needs of a tokenizer."""

    def encode(self, lines: Sequence[str]) -> list[TokenIds]: ...

    def decode(self, sentences: Sequence[TokenIds]) -> list[str]: ...

    def token_bytes(self) -> list[bytes]: ...


@dataclass(frozen=True)
class Segment:
    """A line, or a part of one that is too long. `is_truncated`: it does not end where a sentence ends."""

    text: str
    ids: TokenIds
    is_truncated: bool = False


@dataclass(frozen=True)
class TranslationRequest:
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

    def rules(self, tokenizer: TextCodec) -> list[Rule]:
        """Rules that hold for every line."""
        return [ForbiddenPhrases(self.avoid, tokenizer.token_bytes())] if self.avoid else []


def split_line(line: str, ids: TokenIds, tokenizer: TextCodec, room: int) -> list[Segment]:
    """The line as it is if its ids fit into `room`; else sentence by sentence, and what is longer still cut.

    A model trained on sentences that is given a paragraph tends to translate its beginning and stop. A blank
    line has no pieces.
    """
    if not line.strip() or not len(ids):
        return []
    if len(ids) <= room:
        return [Segment(line, ids)]
    return [piece for sentence in _sentences(line) for piece in _cut(sentence, tokenizer, room)]


def _cut(text: str, tokenizer: TextCodec, room: int) -> list[Segment]:
    (ids,) = tokenizer.encode([text])
    if len(ids) <= room:
        return [Segment(text, ids)] if len(ids) else []
    parts = [ids[i : i + room] for i in range(0, len(ids), room)]
    texts = tokenizer.decode(parts)
    return [Segment(part_text, part, is_truncated=True) for part_text, part in zip(texts, parts, strict=True)]


def _sentences(line: str) -> list[str]:
    ends = [match.end() for match in SENTENCE_END.finditer(line)] + [len(line)]
    starts = [0, *ends]
    return [line[a:b] for a, b in zip(starts, ends, strict=False) if b > a]


class Terminology:
    """Which token sequences the translation of a text must hold."""

    def __init__(self, terms: Sequence[tuple[str, str]], tokenizer: TextCodec) -> None:
        """Raises: DataError: a target that the vocabulary cannot say."""
        encoded = tokenizer.encode([target for _, target in terms]) if terms else []
        self.terms: list[tuple[re.Pattern[str], Phrase]] = []
        for (source, target), ids in zip(terms, encoded, strict=True):
            if UNK in ids or not len(ids):
                raise DataError(f"the term '{target}' holds characters that the vocabulary cannot say")
            self.terms.append((_word_pattern(source), tuple(int(i) for i in ids)))

    def assign(self, line: str, pieces: Sequence[Segment]) -> list[tuple[Phrase, ...]]:
        """For each piece of a line its phrases: those of terms that stand in it, or that pieces cut apart."""
        wanted: list[list[Phrase]] = [[] for _ in pieces]
        for pattern, phrase in self.terms:
            if pieces and pattern.search(line):
                owners = [i for i, piece in enumerate(pieces) if pattern.search(piece.text)]
                for i in owners or [len(pieces) - 1]:
                    wanted[i].append(phrase)
        return [tuple(dict.fromkeys(phrases)) for phrases in wanted]


def _word_pattern(term: str) -> re.Pattern[str]:
    """The term as words of their own, whatever the case; in scripts without blanks anywhere."""
    before = r"(?<!\w)" if starts_word(term) else ""
    after = r"(?!\w)" if starts_word(term[-1:]) else ""
    return re.compile(before + re.escape(term) + after, re.IGNORECASE)
