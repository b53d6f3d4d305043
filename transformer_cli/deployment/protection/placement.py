"""Removes items from a line, and inserts them into the translation of the rest.

An item is placed by the words next to it. The tag pair around words is placed around their translation, as in
Hanneman and Dinu 2020, section 3.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher

from transformer_cli.deployment.protection.alignment import Aligner, Span
from transformer_cli.deployment.protection.items import SENTENCE_PUNCTUATION, Item, other_items
from transformer_cli.unicode_scripts import UNSPACED

MIN_SIMILARITY = 0.6
"""Similarity from which an item of a translation is taken for an altered item of the source."""
LEADING = (":", ",", ";")
"""Punctuation that stays with an item at the beginning of a line."""
CLOSING_TAGS, ITEMS, OPENING = range(3)
"""Order of insertions at the same offset. Inner closing tags precede outer ones, outer opening tags inner ones."""
CLOSING = SENTENCE_PUNCTUATION + ")]}»”"
WORD = re.compile(r"\S+")


@dataclass(frozen=True)
class Anchor:
    """An item, and the offset in the shortened line at which it was removed.

    `text`: the item, with the punctuation after it if the line starts with it: `%d: `.
    """

    item: Item
    offset: int
    text: str


@dataclass(frozen=True)
class Shortened:
    """A line without some of its items."""

    text: str
    anchors: list[Anchor]


def remove_items(line: str, items: Sequence[Item]) -> Shortened:
    """The line without these items, and without the space that would be left over."""
    text, position, anchors = "", 0, []
    for item in items:
        text += line[position : item.start]
        position = item.end
        if not item.is_inline and not text.strip() and line[position : position + 1] in LEADING:
            position += 1
        removed, following = line[item.start : position], line[position : position + 1]
        if not item.is_inline and text[-1:].isspace() and (not following or following in CLOSING):
            text = text.rstrip()
        if (not text or text[-1].isspace()) and following.isspace():
            position += 1
        elif not item.is_inline and text[-1:].isalnum() and following.isalnum():
            text += "" if UNSPACED.match(following) else " "
        anchors.append(Anchor(item, len(text), removed))
    return Shortened(text + line[position:], _merge_empty_pairs(line, anchors))


def _merge_empty_pairs(line: str, anchors: list[Anchor]) -> list[Anchor]:
    """The anchors, with tags around nothing or around other items as one: `<b>{x}</b>`."""
    merged: list[Anchor] = []
    pairs = [(o, c) for o, c in _tag_pairs(anchors) if anchors[o].offset == anchors[c].offset]
    index = 0
    while index < len(anchors):
        anchor = anchors[index]
        if pairs and pairs[0][0] == index:
            index = pairs[0][1]
            start, end = anchor.item.start, anchors[index].item.end
            pairs = [pair for pair in pairs if pair[0] > index]
            item = replace(anchor.item, kind="pair", end=end, text=line[start:end], required=())
            anchor = Anchor(item, anchor.offset, item.text)
        merged.append(anchor)
        index += 1
    return merged


def restore_altered(text: str, missing: Sequence[Item], items: Sequence[Item]) -> str:
    """Replace items of a translation that are altered ones of the source: 1.500 by 1,500."""
    others = other_items(text, items)
    replaced: list[tuple[Item, str]] = []
    for item in missing:
        if item.kind == "tag" or len(item.required) > 1:
            continue
        (needed,) = item.required
        candidates = [other for other in others if other.kind == item.kind]
        best = max(candidates, key=lambda other: _similarity(needed, other.text), default=None)
        if best is not None and _similarity(needed, best.text) >= MIN_SIMILARITY:
            others.remove(best)
            replaced.append((best, needed))
    for other, needed in sorted(replaced, key=lambda pair: -pair[0].start):
        text = text[: other.start] + needed + text[other.end :]
    return text


def insert_items(text: str, source: Shortened, align: Aligner, fixed: Sequence[Span] = ()) -> str:
    """Insert the removed items into the translation `text` of the shortened line.

    Args:
        align: of the shortened line and `text`.
        fixed: parts of `text` that nothing is inserted into.
    """
    result, position, opened = "", 0, ""
    for offset, _, _, index in sorted(_insertions(text, source, align, fixed)):
        anchor = source.anchors[index]
        result += text[position:offset]
        position = offset
        following = text[offset : offset + 1]
        if not anchor.item.is_inline:
            is_first = not result or result[-1].isspace() or (result.endswith(opened) and bool(opened))
            result += " " if not is_first and separates(result[-1], after=True) else ""
            result += anchor.text
            result += " " if following and not following.isspace() and separates(following, after=False) else ""
        else:
            result += anchor.text
        opened = anchor.text if anchor.item.is_opening else ""
    return result + text[position:]


def _insertions(
    text: str, source: Shortened, align: Aligner, fixed: Sequence[Span]
) -> list[tuple[int, int, float, int]]:
    """(offset, rank and order at this offset, index of the anchor) of each anchor."""
    insertions: list[tuple[int, int, float, int]] = []
    pairs = _tag_pairs(source.anchors)
    places: list[tuple[int, int, int, int, int]] = []
    for (opening, closing), span in zip(pairs, _pair_spans(source, pairs, text, align), strict=True):
        start, end = (_outside(offset, fixed) for offset in span)
        order = len(places) - (end - start) * len(source.anchors)  # the longer pair is the outer one
        places.append((opening, closing, start, end, order))
        if start == end:  # words without alignment
            insertions += [(start, ITEMS, opening, opening), (start, ITEMS, closing, closing)]
        else:
            insertions += [(start, OPENING, order, opening), (end, CLOSING_TAGS, -order, closing)]
    paired = {index for pair in pairs for index in pair}
    for index, anchor in enumerate(source.anchors):
        if index in paired:
            continue
        offset = _outside(_place(anchor, source.text, text, align), fixed)
        rank, key = ITEMS, float(index)
        around = [place for place in places if place[0] < index < place[1]]
        if around:  # an item between tags remains between them
            _, _, start, end, order = max(around)
            offset = min(max(offset, start), end)
            if start < end and offset in (start, end):
                rank, key = (OPENING, order + 0.5) if offset == start else (CLOSING_TAGS, -order - 0.5)
        insertions.append((offset, rank, key, index))
    return insertions


def append_items(text: str, items: Sequence[Item]) -> str:
    """The translation followed by these items."""
    return " ".join([text, *(item.text for item in items)]).strip()


def _similarity(a: str, b: str) -> float:
    if a[0].isdecimal() and b[0].isdecimal():
        a, b = (re.sub(r"\D", "", number) for number in (a, b))
    return SequenceMatcher(None, a.lower(), b.lower(), autojunk=False).ratio()


def separates(neighbour: str, *, after: bool) -> bool:
    """Whether a space belongs between an item and its neighbour."""
    if UNSPACED.match(neighbour):
        return False
    return neighbour not in "([{«„“\"'" if after else neighbour not in CLOSING + "\"'"


def _place(anchor: Anchor, source: str, text: str, align: Aligner) -> int:
    """Offset in the translation of an item that belongs to no pair of tags.

    What is at the beginning or the end of the line remains there.
    """
    before, after = _core_before(source, anchor.offset), _core_after(source, anchor.offset)
    if not before:
        return anchor.offset if text.startswith(source[: anchor.offset]) else 0
    if not after and text.endswith(source[anchor.offset :]):
        return len(text) - len(source) + anchor.offset
    if not after:
        return _cores(text, 0, len(text))[-1][1] if _cores(text, 0, len(text)) else len(text)
    gap = source[before[1] : anchor.offset]
    touches = anchor.item.is_inline and not anchor.item.is_opening and not any(map(str.isspace, gap))
    is_phrase_end = touches or anchor.item.is_closing or not source[anchor.offset :].lstrip()[:1].isalnum()
    for word, side in [(before, 1), (after, 0)] if is_phrase_end else [(after, 0), (before, 1)]:
        span = align(*word)
        if span is not None:
            place = _word_at(text, span)[side]
            if side and gap.strip() and text.startswith(gap, place):  # the punctuation before it, such as ". ("
                return place + len(gap)
            return _skip(text, place, len(gap) if touches and side else 0)
    return len(text)


def _skip(text: str, offset: int, count: int) -> int:
    """The offset after at most `count` marks of punctuation; before them, if `count` is negative."""
    step = -1 if count < 0 else 1
    for _ in range(abs(count)):
        mark = text[offset - 1 : offset] if count < 0 else text[offset : offset + 1]
        if not mark or mark.isalnum() or mark.isspace():
            break
        offset += step
    return offset


def _pair_spans(
    source: Shortened, pairs: Sequence[tuple[int, int]], text: str, align: Aligner
) -> list[tuple[int, int]]:
    """Start and end in the translation of the words of each pair of tags, nested or disjoint."""
    spans: list[tuple[int, int]] = []
    for opening, closing in pairs:
        start, end = source.anchors[opening].offset, source.anchors[closing].offset
        words = _cores(source.text, start, end)
        span = align(words[0][0], words[-1][1]) if words else None
        if span is not None:
            place = _word_at(text, (span[0], span[0]))[0], _word_at(text, (span[1], span[1]))[1]
            punctuation = source.text[start : words[0][0]].lstrip(), source.text[words[-1][1] : end].rstrip()
            place = _skip(text, place[0], -len(punctuation[0])), _skip(text, place[1], len(punctuation[1]))
        else:
            place = (_place(source.anchors[opening], source.text, text, align),) * 2
        for other in spans:
            if place[0] < other[0] < place[1] < other[1] or other[0] < place[0] < other[1] < place[1]:
                place = min(place[0], other[0]), max(place[1], other[1])
        spans.append(place)
    return spans


def _tag_pairs(anchors: Sequence[Anchor]) -> list[tuple[int, int]]:
    """Indices of opening tags and the closing tags that belong to them, inner pairs after outer ones."""
    pairs, stack = [], []
    for index, anchor in enumerate(anchors):
        if anchor.item.is_opening:
            stack.append(index)
        elif anchor.item.is_closing and anchor.item.name in [anchors[i].item.name for i in stack]:
            while (opening := stack.pop()) >= 0 and anchors[opening].item.name != anchor.item.name:
                pass
            pairs.append((opening, index))
    return sorted(pairs)


def _cores(text: str, start: int, end: int) -> list[Span]:
    """The words of a part of a text, without punctuation at their ends."""
    return [core for word in WORD.finditer(text, start, end) for core in [_strip(text, *word.span())] if core]


def _strip(text: str, start: int, end: int) -> Span | None:
    while start < end and not text[start].isalnum():
        start += 1
    while end > start and not text[end - 1].isalnum():
        end -= 1
    return (start, end) if start < end else None


def _core_before(text: str, offset: int) -> Span | None:
    """The last word before an offset; in a script without spaces its last character."""
    cores = _cores(text, 0, offset)
    if not cores:
        return None
    start, end = cores[-1]
    return (end - 1, end) if UNSPACED.match(text[end - 1]) else (start, end)


def _core_after(text: str, offset: int) -> Span | None:
    """The first word after an offset; in a script without spaces its first character."""
    match = next((core for core in _cores(text, offset, len(text))), None)
    if match is None:
        return None
    return (match[0], match[0] + 1) if UNSPACED.match(text[match[0]]) else match


def _word_at(text: str, span: Span) -> Span:
    """The whole word that has this part of a text, without punctuation; in a script without spaces, the part."""
    start, end = span
    while start > 0 and not text[start - 1].isspace() and not UNSPACED.match(text[start - 1 : start + 1]):
        if UNSPACED.match(text[start : start + 1]):
            break
        start -= 1
    while end < len(text) and not text[end].isspace() and not UNSPACED.match(text[end]):
        if end and UNSPACED.match(text[end - 1]):
            break
        end += 1
    return _strip(text, start, end) or (start, end)


def _outside(offset: int, fixed: Sequence[Span]) -> int:
    """The offset, or the end of the fixed part that it is in."""
    for start, end in sorted(fixed):
        if start < offset < end or (start == offset == 0 < end):
            offset = end
    return offset
