"""Splits text into sentences, and puts their translations in their places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from transformer_cli.data.text import one_line
from transformer_cli.deployment.sentences import split_sentences as split

MAX_SENTENCE = 2000
"""Characters of a sentence; a longer one is split at spaces, so that no request keeps the others waiting."""
UNSPACED_LANGUAGES = frozenset({"zh", "ja", "th", "lo", "km", "my"})
"""Languages that are written without spaces between sentences."""


@dataclass(frozen=True)
class Sentence:
    """A sentence of a text, without the white space around it.

    `start`, `end`: its place in the text, in code points. `text`: the sentence as one line.
    """

    start: int
    end: int
    text: str


def clean_text(text: str) -> str:
    """The text with spaces for NUL and for other line ends than LF and CRLF, as in `data.text`; equally long."""
    lines = text.split("\n")
    ends = ["\r" if line.endswith("\r") else "" for line in lines]
    return "\n".join(one_line(line.removesuffix("\r")) + end for line, end in zip(lines, ends, strict=True))


def split_text(text: str, language: str, *, split_sentences: bool = True) -> list[Sentence]:
    """The sentences of a text, in order; white space, also blank lines, belongs to none.

    Args:
        language: ISO 639 code of the text; rules for other languages are English ones.
        split_sentences: False: one sentence per line.
    """
    found, start = [], 0
    for line in text.split("\n"):
        parts = split(one_line(line), language) if split_sentences else [one_line(line)]
        position = start
        for part in parts:
            found += _pieces(part, position)
            position += len(part)
        start += len(line) + 1
    return found


def join_text(
    text: str, sentences: Sequence[Sentence], translations: Sequence[str], target: str
) -> tuple[str, list[tuple[int, int]]]:
    """The text with every sentence replaced by its translation.

    Args:
        target: ISO 639 code of the translations; decides about spaces between them.

    Returns:
        The text, and the place of each translation in it, in code points.
    """
    is_unspaced = target.partition("-")[0] in UNSPACED_LANGUAGES
    result, length, position, places = [], 0, 0, []
    for number, (sentence, translation) in enumerate(zip(sentences, translations, strict=True)):
        between = text[position : sentence.start]
        if number and is_unspaced and not between.strip(" "):
            between = ""
        elif number and not between and not is_unspaced:
            between = " "
        result += [between, translation]
        length += len(between)
        places.append((length, length + len(translation)))
        length += len(translation)
        position = sentence.end
    return "".join([*result, text[position:]]), places


def _pieces(part: str, position: int) -> list[Sentence]:
    """A part of a line without the white space around it, split if it is too long."""
    pieces = []
    for piece in cut_sentence(part):
        stripped = piece.strip()
        if stripped:
            first = position + len(piece) - len(piece.lstrip())
            pieces.append(Sentence(first, first + len(stripped), stripped))
        position += len(piece)
    return pieces


def cut_sentence(sentence: str) -> list[str]:
    """Pieces of at most `MAX_SENTENCE` characters, cut at spaces; joined, they are the sentence."""
    pieces, start = [], 0
    while start < len(sentence):
        end = len(sentence)
        if end - start > MAX_SENTENCE:
            space = sentence.rfind(" ", start + MAX_SENTENCE // 2, start + MAX_SENTENCE)
            end = space if space > 0 else start + MAX_SENTENCE
        pieces.append(sentence[start:end])
        start = end
    return pieces
