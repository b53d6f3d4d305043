"""From a line of text to search: segments that fit the model, and the user's constraints on their translations."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from transformer_cli.batch import UNK, TokenIds
from transformer_cli.decoding.constraints.phrases import (
    ForbiddenPhrases,
    Phrase,
    WordEnds,
    continues_word,
    starts_word,
)
from transformer_cli.decoding.search.base import Rule
from transformer_cli.errors import DataError

SENTENCE_END = re.compile(r"(?<=[.!?…])[\"')\]»“”]*\s+|(?<=[。！？])[\"')\]»“”]*\s*")


class TextCodec(Protocol):
    """The methods of a tokenizer that the translator uses."""

    def encode(self, lines: Sequence[str]) -> list[TokenIds]:
        """Ids of each line, without BOS and EOS."""
        ...

    def decode(self, sentences: Sequence[TokenIds]) -> list[str]:
        """The text of each sentence."""
        ...

    def token_bytes(self) -> list[bytes]:
        """The bytes of each token, `[V]`; a space starts a word."""
        ...


@dataclass(frozen=True)
class Segment:
    """A line, or a part of a line that is too long. `is_truncated`: the part does not end at a sentence end."""

    text: str
    ids: TokenIds
    is_truncated: bool = False


@dataclass(frozen=True)
class TranslationRequest:
    """Outputs and constraints that the user requests in addition to the options of search.

    Attributes:
        n_best: number of translations per line.
        scored: whether log-probabilities are used.
        align: whether to compute word alignments.
        terms: (source, target): if a line contains the source term, its translation must contain
            the target.
        avoid: phrases that no translation may contain.
    """

    n_best: int = 1
    scored: bool = True
    align: bool = False
    terms: tuple[tuple[str, str], ...] = ()
    avoid: tuple[str, ...] = ()

    def rules(self, tokenizer: TextCodec) -> list[Rule]:
        """The rules that are the same for every line."""
        return [ForbiddenPhrases(self.avoid, tokenizer.token_bytes())] if self.avoid else []


def split_line(line: str, ids: TokenIds, tokenizer: TextCodec, max_tokens: int) -> list[Segment]:
    """The line as a single segment if it has at most `max_tokens` ids; else its sentences, cut if they are longer.

    A model trained on sentences tends to translate the beginning of a paragraph and stop. A blank
    line has no segments.
    """
    if not line.strip() or not len(ids):
        return []
    if len(ids) <= max_tokens:
        return [Segment(line, ids)]
    return [segment for sentence in _sentences(line) for segment in _cut(sentence, tokenizer, max_tokens)]


def _cut(text: str, tokenizer: TextCodec, max_tokens: int) -> list[Segment]:
    (ids,) = tokenizer.encode([text])
    if len(ids) <= max_tokens:
        return [Segment(text, ids)] if len(ids) else []
    parts = [ids[i : i + max_tokens] for i in range(0, len(ids), max_tokens)]
    texts = tokenizer.decode(parts)
    return [Segment(part_text, part, is_truncated=True) for part_text, part in zip(texts, parts, strict=True)]


def _sentences(line: str) -> list[str]:
    ends = [match.end() for match in SENTENCE_END.finditer(line)] + [len(line)]
    starts = [0, *ends]
    return [line[start:end] for start, end in zip(starts, ends, strict=False) if end > start]


class Terminology:
    """Finds the token sequences that the translation of a text must contain."""

    def __init__(self, terms: Sequence[tuple[str, str]], tokenizer: TextCodec) -> None:
        """
        Raises:
            DataError: a target contains characters that are not in the vocabulary.
        """
        encoded = tokenizer.encode([target for _, target in terms]) if terms else []
        self.terms: list[tuple[re.Pattern[str], Phrase]] = []
        for (source, target), ids in zip(terms, encoded, strict=True):
            if UNK in ids or not len(ids):
                raise DataError(
                    f"the term '{target}' contains characters that are not in the vocabulary",
                    hint="remove it from the terms: the model cannot generate it",
                )
            self.terms.append((_word_pattern(source), tuple(int(i) for i in ids)))
        whole = [
            phrase for (_, target), (_, phrase) in zip(terms, self.terms, strict=True) if starts_word(target[-1:])
        ]
        tokens = enumerate(tokenizer.token_bytes()) if whole else ()
        self.word_ends = WordEnds(frozenset(whole), frozenset(i for i, token in tokens if continues_word(token)))

    def assign(self, line: str, segments: Sequence[Segment]) -> list[tuple[Phrase, ...]]:
        """The required phrases of each segment of a line.

        A term belongs to the segments that contain it, and to the last one if a segment boundary
        splits it.
        """
        required: list[list[Phrase]] = [[] for _ in segments]
        for pattern, phrase in self.terms:
            if segments and pattern.search(line):
                matches = [i for i, segment in enumerate(segments) if pattern.search(segment.text)]
                for i in matches or [len(segments) - 1]:
                    required[i].append(phrase)
        return [tuple(dict.fromkeys(phrases)) for phrases in required]


def _word_pattern(term: str) -> re.Pattern[str]:
    """Matches the term as whole words, case-insensitively; in scripts without spaces anywhere."""
    before = r"(?<!\w)" if starts_word(term) else ""
    after = r"(?!\w)" if starts_word(term[-1:]) else ""
    return re.compile(before + re.escape(term) + after, re.IGNORECASE)
