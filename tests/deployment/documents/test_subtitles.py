"""Subtitles: times and numbers stay, and a text has as many lines as before."""

from __future__ import annotations

import pytest
import srt
from document_helpers import Reversal, Unaligned, reverse_words, sentences, translate
from hypothesis import given, settings
from hypothesis import strategies as st

from transformer_cli.deployment.documents.subtitles import TIMING, SubtitlesDocument, looks_like_subtitles
from transformer_cli.errors import DataError

SRT = """1
00:00:01,000 --> 00:00:02,500
The black dog sees
a <i>big</i> house. It runs.

2
00:00:03,000 --> 00:00:04,000  X1:40 X2:600
- Who is it?
- {\\an8}<b>Me & you</b>

7
00:00:05.5 --> 00:00:06.5
♪ 12 ♪

8
00:00:07,000 --> 00:00:08,000


9
01:00:07,000 --> 01:00:08,000
A line

with a blank line
"""
VTT = """WEBVTT - A title

STYLE
::cue { color: red }

NOTE Not this

intro
00:01.000 --> 00:02.500 align:start
<v Mary>The dog &amp; <c.red>the cat</c> run
now

00:03.000 --> 00:04.000
The end.
"""


def test_what_is_translated() -> None:
    assert sentences(SubtitlesDocument(SRT.encode())) == [
        "The black dog sees a big house.",
        "It runs.",
        "- Who is it?",
        "- Me & you",
        "A line with a blank line",
    ]
    assert sentences(SubtitlesDocument(VTT.encode())) == ["The dog & the cat run now", "The end."]


@pytest.mark.parametrize("text", [SRT, VTT, SRT.rstrip("\n"), SRT.replace("\n", "\r\n"), "\ufeff" + SRT])
def test_without_changes_the_bytes_are_the_same(text: str) -> None:
    for data in (text.encode(), text.lstrip("\ufeff").encode("utf-16")):
        assert translate(SubtitlesDocument(data), str) == data
        changed = translate(SubtitlesDocument(data), str.swapcase)
        again = translate(SubtitlesDocument(changed), str.swapcase)
        assert changed != data and _decode(again).split() == _decode(data).split()
        assert _decode(again).count("\r\n") == _decode(data).count("\r\n")


def _decode(data: bytes) -> str:
    return data.decode("utf-8" if b"\0" not in data else "utf-16")


def test_the_lines_of_a_text_are_filled_again() -> None:
    changed = translate(SubtitlesDocument(SRT.encode()), reverse_words, Reversal).decode()
    assert "2,500\nhouse <i>big</i> a sees dog\nblack The. runs It.\n\n2\n" in changed
    assert "it? is Who -\n{\\an8}<b>you & Me</b> -\n" in changed
    cues = list(srt.parse(SRT.split("\n7\n")[0])), list(srt.parse(changed.split("\n7\n")[0]))
    assert len(cues[0]) == 2
    for old, new in zip(*cues, strict=True):
        assert (old.index, old.start, old.end, old.proprietary) == (new.index, new.start, new.end, new.proprietary)
        assert old.content.count("\n") == new.content.count("\n")


@pytest.mark.parametrize(
    ("source", "translation", "expected"),
    [
        ("a b\nc d", "eins zwei drei vier", "eins zwei\ndrei vier"),
        (
            "a b\nc d\ne",
            "ein sehr langer Text mit vielen Wörtern darin",
            "ein sehr langer\nText mit vielen\nWörtern darin",
        ),
        ("a b\nc d", "kurz", "kurz"),
        ("One\nTwo", "这是一本很好的书，那是一只很大的狗。", "这是一本很好的书，\n那是一只很大的狗。"),
        ("A b", "one-line text that is much longer than it was", "one-line text that is much longer than it was"),
    ],
)
def test_number_of_lines(source: str, translation: str, expected: str) -> None:
    head, tail = "1\n00:00:01,000 --> 00:00:02,000\n", "\n\n2\n00:00:03,000 --> 00:00:04,000\n5\n"
    document = SubtitlesDocument((head + source + tail).encode())
    assert translate(document, lambda line: translation).decode() == head + expected + tail


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                "a",
                "Bcd ",
                "\n",
                "<i>",
                "</i>",
                "{\\an8}",
                "<b>",
                "</b>",
                "1\n",
                "\n\n",
                "-",
                "<",
                "\U00100002",
                "00:00:01,000 --> 00:00:02,000\n",
            ]
        ),
        max_size=25,
    ).map("".join)
)
def test_any_text_comes_back(text: str) -> None:
    data = f"1\n00:00:00,000 --> 00:00:01,000\n{text}".encode()
    assert translate(SubtitlesDocument(data), str) == data
    changed = translate(SubtitlesDocument(data), reverse_words, Reversal)
    for piece in (b"<i>", b"</i>", b"{\\an8}", "\U00100002".encode()):
        assert changed.count(piece) == data.count(piece), (data, changed)
    times = [[line for line in file.decode().split("\n") if TIMING.match(line)] for file in (data, changed)]
    assert times[0] == times[1]


def test_markup_in_a_translation_of_vtt_is_text() -> None:
    changed = translate(SubtitlesDocument(VTT.encode()), lambda line: "<b>&--> x\n\n1", Unaligned).decode()
    assert "<v Mary>&lt;b&gt;&amp;--&gt;" in changed


def test_refused() -> None:
    with pytest.raises(DataError, match="has no subtitles"):
        SubtitlesDocument(b"A text.\n")
    for unit in ("a\n", "x", "<i>", "\U00100000"):
        with pytest.raises(DataError, match="line 3: a subtitle of more than 50 lines or 5,000 letters"):
            SubtitlesDocument(b"1\n00:00:00,000 --> 00:00:01,000\n" + unit.encode() * 6000)
    with pytest.raises(DataError, match="line 3: is not valid UTF-8"):
        SubtitlesDocument(b"1\n00:00:00,000 --> 00:00:01,000\ncaf\xe9\n")


def test_recognition() -> None:
    assert looks_like_subtitles(SRT.encode()) and looks_like_subtitles(VTT.encode())
    assert looks_like_subtitles(b"\xef\xbb\xbf1\r\n00:00:00,000 --> 00:00:01,000\r\nA\r\n")
    assert not looks_like_subtitles(b"1\nA line\n") and not looks_like_subtitles(b"")
