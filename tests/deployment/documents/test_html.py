"""HTML: only text that is read changes; everything else is the same, byte for byte."""

from __future__ import annotations

import time

import lxml.html
import pytest
from document_helpers import Reversal, reverse_words, sentences, translate
from hypothesis import given, settings
from hypothesis import strategies as st

from transformer_cli.deployment.documents.html import HtmlDocument, looks_like_html
from transformer_cli.errors import DataError

PAGE = """<!DOCTYPE html>
<html lang="en" class=x>
<head>
  <meta charset="utf-8"><meta name="description" content='A page about "dogs" &amp; cats'>
  <meta name=viewport content="width=device-width">
  <title>Dogs &amp; cats</title>
  <style>p > b { color: red }</style>
  <script>if (a < b) document.write("<p>No text</p>")</script>
</head>
<body>
<!-- A comment -->
<h1>  Hello,   <em>big</em> world!  </h1>
<p class="a>b">The <b>black</b> dog&nbsp;sees <a href="/x?a=1&b=2" title="A link">a house</a>. It runs.<br>Now
<p>Press <kbd>Ctrl</kbd> and <code>x &lt; y</code> today.
<ul><li>One dog<li>Two <img src=a.png alt="A cat"> dogs</ul>
<pre>Not
  this</pre>
<p translate="no">Not this <b>either</b>, <span translate="yes">but this</span>.</p>
<p>Keep <span class="notranslate brand">The Name</span> here<!-- x -->.</p>
<input type="submit" value='Send it'><input type=text value="No" placeholder=Search>
<button aria-label="Close &quot;it&quot;">X</button><svg><title>Drawing</title><text>No</text></svg>
<textarea>Not this</textarea><p>5 &lt; 7</p>
</body></html>
"""


def test_what_is_translated() -> None:
    assert sentences(HtmlDocument(PAGE.encode())) == [
        "Dogs & cats",
        "Hello, big world!",
        "The black dog\u00a0sees a house.",
        "It runs.",
        "Now",
        "Press and today.",
        "One dog",
        "Two dogs",
        "but this",
        "Keep here.",
        "X",
        'A page about "dogs" & cats',
        "A link",
        "A cat",
        "Send it",
        "Search",
        'Close "it"',
    ]


def test_without_changes_the_bytes_are_the_same() -> None:
    assert translate(HtmlDocument(PAGE.encode()), str) == PAGE.encode()
    assert HtmlDocument(PAGE.encode()).language == "en"


def test_only_text_changes() -> None:
    once = translate(HtmlDocument(PAGE.encode()), str.swapcase)
    assert (
        b'tHE <b>BLACK</b> DOG&nbsp;SEES <a href="/x?a=1&b=2" title="a LINK">A HOUSE</a>. iT RUNS.<br>nOW' in once
    )
    assert b"<p>pRESS <kbd>Ctrl</kbd> AND <code>x &lt; y</code> TODAY." in once
    assert b"content='a PAGE ABOUT \"DOGS\" &amp; CATS'" in once and b'placeholder="sEARCH"' in once
    assert (
        b'aria-label="cLOSE &quot;IT&quot;"' in once and b'<li>tWO <img src=a.png alt="a CAT"> DOGS</ul>' in once
    )
    again = translate(HtmlDocument(once), str.swapcase)
    expected = PAGE.replace("  Hello,   <em>", "  Hello, <em>").replace(
        "placeholder=Search", 'placeholder="Search"'
    )
    assert again.decode() == expected


def test_tags_stay_on_their_words() -> None:
    text = b"<p>The <b>black</b> dog <i>sees the</i> <a href=x><u>old</u> house</a>.</p>"
    assert (
        translate(HtmlDocument(text), reverse_words, Reversal)
        == b"<p><a href=x>house <u>old</u></a> <i>the sees</i> dog <b>black</b> The.</p>"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<html><p>a</html>", '<html lang="de"><p>a</html>'),
        ("<html lang=en xml:lang='en'>", '<html lang="de" xml:lang="de">'),
        ("<p lang=en>a", "<p lang=en>a"),
    ],
)
def test_the_language_is_set(text: str, expected: str) -> None:
    document = HtmlDocument(text.encode())
    assert translate(document, str, language="de").decode() == expected
    assert translate(document, str) == text.encode()


@pytest.mark.parametrize("encoding", ["windows-1252", "iso-8859-1", "utf-8", "shift_jis", "koi8-r"])
def test_the_encoding_stays(encoding: str) -> None:
    name = "windows-1252" if encoding.startswith("iso") else encoding
    text = f"<meta charset={encoding}><p>a word</p>".encode(name)
    assert translate(HtmlDocument(text), str) == text
    changed = translate(HtmlDocument(text), lambda line: "Ein Wörtchen 猫")
    assert lxml.html.fromstring(changed.decode(name)).xpath("//p")[0].text == "Ein Wörtchen 猫"


def test_markup_in_a_translation_is_text() -> None:
    changed = translate(HtmlDocument(b'<p title="a">b</p>'), lambda line: f"</p>'\"&<script>{line}\x00\U00100001")
    (paragraph,) = lxml.html.fragments_fromstring(changed.decode())
    assert paragraph.text == "</p>'\"&<script>b" and paragraph.get("title") == "</p>'\"&<script>a"


@pytest.mark.parametrize(
    "text",
    [
        "<p>a <b>b <i>c</b> d</i> e",
        "a </b> c <!-- <p> x",
        "<b>a<br>b</b> c",
        "<a <b>x",
        "<p title='x>a",
        "a & b &amp &nbsp; &#x41; &unknown; < > <3",
        "<script>a",
        "<table><tr><td>a<td><b>b<tr><td>c</table>",
        "<p translate=no>a<p>b",
        "a<code>b",
        "<svg><g><p>x</svg>y",
        "<!DOCTYPE html><![CDATA[a]]><?php b ?>c",
        "",
    ],
)
def test_faulty_markup_is_kept(text: str) -> None:
    assert translate(HtmlDocument(text.encode()), str).decode() == text
    again = translate(HtmlDocument(translate(HtmlDocument(text.encode()), str.swapcase)), str.swapcase).decode()
    assert lxml.html.fromstring(f"<div>{again}").xpath("string()") == lxml.html.fromstring(f"<div>{text}").xpath(
        "string()"
    )


PIECES = [
    "<b>",
    "</b>",
    "<i>",
    "</i>",
    "<p>",
    "</p>",
    "<br>",
    " ",
    "a",
    "Bc. ",
    "<code>",
    "</code>",
    "<!-- -->",
    "<",
    "&amp;",
    "\n",
    "<img alt=x>",
    "</",
    "<a href='",
    "'>",
    "\U00100002",
]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=25).map("".join))
def test_any_text_comes_back(text: str) -> None:
    assert translate(HtmlDocument(text.encode()), str).decode() == text
    changed = translate(HtmlDocument(text.encode()), reverse_words, Reversal).decode()
    for piece in ("<b>", "</b>", "<i>", "</i>", "<code>", "<!-- -->", "<br>", "\U00100002"):
        assert changed.count(piece) == text.count(piece), (text, changed)


@pytest.mark.parametrize(
    "unit",
    [
        "<div>",
        "<b>x ",
        "<b>x</b> ",
        "</b>",
        "<!--",
        "<a b='",
        "<p><button><div>",
        "<code>",
        "a. ",
        "&",
        "<x a ",
        "<![CDATA[",
    ],
)
def test_hostile_text_takes_linear_time(unit: str) -> None:
    text = (unit * 4000).encode()
    start = time.perf_counter()
    assert translate(HtmlDocument(text), str) == text
    assert time.perf_counter() - start < 10


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"<p>caf\xe9\n", "line 1: is not valid UTF-8"),
        (b"<meta charset=unknown-9>", "encoding, 'unknown-9', is not supported"),
        (b"<meta charset=utf-7>", "is not supported"),
        (b"<meta charset=base64>", "is not supported"),
        (b"<p>\0</p>", "NUL"),
    ],
)
def test_refused(data: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        HtmlDocument(data)


def test_recognition() -> None:
    assert looks_like_html(b"\n<!-- x --><!doctype html><p>") and looks_like_html(b"<HTML>")
    assert not looks_like_html(b"<p>a line</p>") and not looks_like_html(b"html")
