"""Which part of a translation belongs to which part of its source."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

Span = tuple[int, int]
Aligner = Callable[[int, int], "Span | None"]
"""Place in the translation of a part of the source, given by its start and end."""


class SpanAlignment(Protocol):
    """The alignment of two texts; see `decoding.token_alignment.TokenAlignment`."""

    def target_of(self, start: int, end: int) -> Span | None:
        """The part of the translation that belongs to this part of the source."""
        ...


def locate_parts(
    source: str, text: str, parts: Sequence[tuple[str, str]]
) -> list[tuple[Span, Span, tuple[str, str]]]:
    """Places of the parts of a source and of their translations in `text`, with both texts, stripped."""
    places = []
    position, target_position = 0, 0
    for src, tgt in ((a.strip(), b.strip()) for a, b in parts):
        start = max(source.find(src, position), position)
        target_start = max(text.find(tgt, target_position), target_position)
        position, target_position = start + len(src), target_start + len(tgt)
        places.append(((start, position), (target_start, target_position), (src, tgt)))
    return places


def join_alignments(parts: Sequence[tuple[Span, int, SpanAlignment]]) -> Aligner:
    """The alignment of a text and its translation, from those of their parts.

    Args:
        parts: (place in the text, start in the translation, alignment) of each part, in order.
    """

    def align(start: int, end: int) -> Span | None:
        spans = [
            (span[0] + offset, span[1] + offset)
            for (a, b), offset, alignment in parts
            if a < end and start < b and (span := alignment.target_of(start - a, end - a))
        ]
        return (spans[0][0], spans[-1][1]) if spans else None

    return align
