"""Segments: the parts of a line that fit the model, and the length limits of their translations."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from transformer_cli.token_ids import TokenIds

EXTRA_LENGTH = 10
"""Tokens that every translation may have in addition to `max_length_ratio` times the length of its source."""
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
    """A line, or a part of a line that is too long.

    Attributes:
        splits_sentence: the part comes from a sentence that was itself too long, and was split between tokens.
    """

    text: str
    ids: TokenIds
    splits_sentence: bool = False


def longest_translation(source: int, max_length_ratio: float, max_target: int | None, required: int = 0) -> int:
    """Maximum number of tokens, EOS included, of the translation of `source` tokens.

    Args:
        max_target: as in `Translator`.
        required: number of tokens of its prefix and required terms.
    """
    limit = math.ceil(max_length_ratio * source) + EXTRA_LENGTH + required
    return limit if max_target is None else min(limit, max_target)


def split_line(line: str, ids: TokenIds, tokenizer: TextCodec, max_tokens: int) -> list[Segment]:
    """The line as one segment if it has at most `max_tokens` ids; else its sentences, split if they are longer.

    A model trained on sentences tends to translate the beginning of a paragraph and stop. A blank
    line has no segments.
    """
    if not line.strip() or not len(ids):
        return []
    if len(ids) <= max_tokens:
        return [Segment(line, ids)]
    return [
        segment for sentence in _sentences(line) for segment in _split_sentence(sentence, tokenizer, max_tokens)
    ]


def _split_sentence(text: str, tokenizer: TextCodec, max_tokens: int) -> list[Segment]:
    (ids,) = tokenizer.encode([text])
    if len(ids) <= max_tokens:
        return [Segment(text, ids)] if len(ids) else []
    parts = [ids[i : i + max_tokens] for i in range(0, len(ids), max_tokens)]
    texts = tokenizer.decode(parts)
    return [Segment(part_text, part, splits_sentence=True) for part_text, part in zip(texts, parts, strict=True)]


def _sentences(line: str) -> list[str]:
    ends = [match.end() for match in SENTENCE_END.finditer(line)] + [len(line)]
    starts = [0, *ends]
    return [line[start:end] for start, end in zip(starts, ends, strict=False) if end > start]
