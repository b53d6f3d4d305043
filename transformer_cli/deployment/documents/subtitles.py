"""Subtitles, SubRip (.srt) and WebVTT (.vtt): numbers, times and settings stay, byte for byte.

Only the lines of text are replaced. Libraries for subtitles write a new file, with other numbers, line ends or
times where the file departs from their format.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from html import escape, unescape

from transformer_cli.deployment.documents.base import CodedText, Segment, pair_tags, pieces
from transformer_cli.deployment.documents.encoding import decode
from transformer_cli.errors import DataError
from transformer_cli.unicode_scripts import UNSPACED

TIMING = re.compile(r"[ \t]*(?:\d+:)?\d{1,2}:\d{1,2}[.,]\d{1,3}[ \t]*-->[ \t]*(?:\d+:)?\d{1,2}:\d{1,2}[.,]\d{1,3}")
TAG = re.compile(r"<(?P<closing>/?)(?P<name>[A-Za-z][A-Za-z]*)(?:[.\s][^<>]*)?>|\{\\[^{}]*\}|<\d[\d:.]*>")
"""A tag; a style in the notation of SubStation Alpha, such as `{\\an8}`; a time in the text."""
SPEAKER = re.compile(r"\s*(?:(?:<[^<>]*>|\{[^{}]*\})\s*)*[-–—‐]")
"""The beginning of a line that another person says than the line before."""
MAX_LINES, MAX_CHARACTERS = 50, 5000
"""Limits of the text of one subtitle."""


def looks_like_subtitles(data: bytes) -> bool:
    """Whether a file begins as subtitles do."""
    head = data[:1024].decode("utf-8", "replace").lstrip("\ufeff")
    lines = [line.strip() for line in head.split("\n") if line.strip()][:2]
    return head.startswith("WEBVTT") or (len(lines) == 2 and lines[0].isdecimal() and bool(TIMING.match(lines[1])))


class SubtitlesDocument:
    """Subtitles; see `base.Document`. A segment is what one person says in one subtitle."""

    language = ""
    notes: Sequence[str] = ()

    def __init__(self, data: bytes) -> None:
        """Raises: DataError: not UTF-8 or UTF-16, no subtitles, or one that is too long."""
        self._file = decode(data)
        self._is_vtt = self._file.text.startswith("WEBVTT")
        self._lines = re.split("(\r?\n)", self._file.text)  # lines and line ends in turn
        self._texts = [_Text(self._lines, *bounds, self._is_vtt) for bounds in self._find_texts()]
        self.segments = [text.segment for text in self._texts]
        if not self._texts and not any(map(TIMING.match, self._lines)):
            raise DataError(
                "has no subtitles: no line has times such as 00:00:01,000 --> 00:00:02,000",
                hint="give --document-format text to translate it line by line",
            )

    def _find_texts(self) -> Iterator[tuple[int, int]]:
        """First and last line of each text, by their indices in `self._lines`."""
        lines, index = self._lines, 0
        while index < len(lines):
            if not TIMING.match(lines[index]):
                index += 2
                continue
            first = index = index + 2
            while index < len(lines) and not self._ends_text(index):
                index += 2
            last = index - 2
            while last >= first and not lines[last].strip():
                last -= 2
            for at in range(first, last + 1, 2):
                if at > first and SPEAKER.match(lines[at]) and SPEAKER.match(lines[first]):
                    yield first, at - 2
                    first = at
            if first <= last:
                yield first, last

    def _ends_text(self, index: int) -> bool:
        """Whether the text of a subtitle ends before this line. Some files have blank lines in their texts."""
        lines = self._lines
        if TIMING.match(lines[index]):
            return True
        if self._is_vtt:
            return not lines[index].strip()
        is_number = lines[index].strip().isdecimal() and index >= 2 and not lines[index - 2].strip()
        return is_number and index + 2 < len(lines) and bool(TIMING.match(lines[index + 2]))

    def render(self, translations: Sequence[str], language: str) -> bytes:
        """See `base.Document`. A text has as many lines as before, if it has words for them."""
        lines = list(self._lines)
        for text, translation in zip(self._texts, translations, strict=True):
            if translation != text.segment.text:
                first, last = text.first, text.last
                new = text.render(translation)
                for place, line in zip(range(first, last + 1, 2), new, strict=False):
                    lines[place] = line
                for place in range(first + 2 * len(new), last + 1, 2):
                    lines[place - 1] = lines[place] = ""
        return self._file.encode("".join(lines))


class _Text:
    """The text between two lines, `first` and `last`, included; the ends of lines flow."""

    def __init__(self, lines: Sequence[str], first: int, last: int, is_vtt: bool) -> None:
        self.first, self.last, self._is_vtt = first, last, is_vtt
        self.count = (last - first) // 2 + 1
        text, position = "\n".join(lines[first : last + 1 : 2]), 0
        if self.count > MAX_LINES or len(text) > MAX_CHARACTERS:
            raise DataError(
                f"line {first // 2 + 1}: a subtitle of more than {MAX_LINES} lines or {MAX_CHARACTERS:,} letters",
                hint="is there a blank line, a number and a line with times before each subtitle?",
            )
        coded, tags = CodedText(), list(TAG.finditer(text))
        named = [tag for tag in tags if tag["name"]]
        found = pair_tags([(tag["name"].lower(), bool(tag["closing"])) for tag in named])
        pairs = {named[opening]: named[closing] for opening, closing in found.items()}
        indices: dict[re.Match[str], int] = {}
        for tag in tags:
            coded.add(self._decode(text[position : tag.start()]))
            position = tag.end()
            if tag in pairs:
                indices[pairs[tag]] = coded.open((tag[0], pairs[tag][0]))
            elif tag in indices:
                coded.close(indices[tag])
            else:
                coded.mark((tag[0], ""))
        coded.add(self._decode(text[position:]))
        self._values = coded.values
        self.segment = Segment(str(coded), f"line {first // 2 + 1}", flows=True)

    def _decode(self, text: str) -> str:
        return unescape(text) if self._is_vtt else text

    def render(self, translation: str) -> list[str]:
        """The lines of a translation, of about equal length."""
        parts = list(pieces(translation, self._values))
        text = "".join(piece for piece in parts if isinstance(piece, str)).replace("\n", " ")
        breaks = _breaks(text, self.count)
        lines, position = [""], 0
        for piece in parts:
            if not isinstance(piece, str):
                kind, value = piece
                lines[-1] += value[kind == "closing"]
                continue
            end = position + len(piece)
            while breaks and breaks[0] < end:
                lines[-1] += self._encode(text[position : breaks[0]])
                lines.append("")
                position = breaks.pop(0)
                position += text[position] == " "
            lines[-1] += self._encode(text[position:end])
            position = end
        return lines

    def _encode(self, text: str) -> str:
        return escape(text, quote=False) if self._is_vtt else text.replace("-->", "->")  # only times have it


def _breaks(text: str, count: int) -> list[int]:
    """Where to break a text into at most `count` lines of about equal length: its spaces that are nearest."""
    start, end = len(text) - len(text.lstrip()), len(text.rstrip())
    places = [i for i in range(start, end) if text[i] == " " and text[i + 1] != " "]
    if not places and UNSPACED.search(text):
        places = [i for i in range(start + 1, end) if text[i].isalnum()]
    breaks: list[int] = []
    for lines in range(count, 1, -1):
        position = breaks[-1] if breaks else start
        ideal = position + (end - position) / lines
        following = [place for place in places if place > position]
        if following:
            breaks.append(min(following, key=lambda place: abs(place - ideal)))
    return breaks
