"""Translators without a model, and how the tests of each format use them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from transformer_cli.decoding.translation import Translation
from transformer_cli.deployment.documents.base import Document
from transformer_cli.deployment.documents.translation import SegmentTranslator
from transformer_cli.deployment.sentences import split_sentences
from transformer_cli.schema import DecodingConfig


class FakeTranslator:
    """Applies a function to each line; `lines` are those that it was given."""

    options = DecodingConfig()

    def __init__(self, function: Callable[[str], str]) -> None:
        self.function = function
        self.lines: list[str] = []

    def translate(
        self,
        lines: Sequence[str],
        progress: Callable[[int], object] = lambda done: None,
        *,
        prefixes: Sequence[str] = (),
        first: int = 0,
    ) -> list[Translation]:
        self.lines += lines
        return [
            Translation(self.function(line), 0.0, "ok", segments=[(line, self.function(line))]) for line in lines
        ]


class Reversal:
    """The alignment of a text with its words in reversed order."""

    def __init__(self, source: str, target: str) -> None:
        self.source, self.target = [
            [match.span() for match in re.finditer(r"\S+", text)] for text in (source, target)
        ]

    def target_of(self, start: int, end: int) -> tuple[int, int] | None:
        words = [i for i, (a, b) in enumerate(reversed(self.source)) if a < end and start < b]
        words = [min(i, len(self.target) - 1) for i in words]
        return (self.target[words[0]][0], self.target[words[-1]][1]) if words else None


class Identity:
    """The alignment of a text with one of the same length."""

    def __init__(self, source: str, target: str) -> None:
        assert len(source) == len(target), (source, target)

    def target_of(self, start: int, end: int) -> tuple[int, int] | None:
        return start, end


class Unaligned:
    """The alignment of texts that have nothing in common."""

    def __init__(self, source: str, target: str) -> None:
        pass

    def target_of(self, start: int, end: int) -> None:
        return None


def reverse_words(line: str) -> str:
    """The words in reversed order; the full stop stays at the end."""
    return " ".join(reversed(line.rstrip(".").split())) + "." * line.endswith(".")


def translate(
    document: Document, function: Callable[[str], str], align: type = Identity, language: str = ""
) -> bytes:
    """The document with `function` applied to its sentences."""
    translator = SegmentTranslator(FakeTranslator(function), align, split_sentences)
    return document.render(translator.translate(document.segments), language)


def sentences(document: Document) -> list[str]:
    """What a translator is given."""
    translator = FakeTranslator(lambda line: line)
    SegmentTranslator(translator, Identity, split_sentences).translate(document.segments)
    return translator.lines
