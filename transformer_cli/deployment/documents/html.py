"""HTML: text, titles and attributes that are read are translated; everything else stays, byte for byte."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import unescape

from transformer_cli.deployment.documents.base import CodedText, Segment, pieces
from transformer_cli.deployment.documents.encoding import decode
from transformer_cli.deployment.documents.html_tokens import RAW_TEXT, Attribute, Token, tokenize

INLINE = frozenset(
    "a abbr acronym b bdi bdo big cite data del dfn em font i ins label mark nobr q rp rt ruby s samp small span "
    "strike strong sub sup time u wbr img code kbd var tt svg math".split()
)
"""Elements inside a segment; all others, `br` too, separate segments."""
OPAQUE = frozenset("code kbd samp var tt svg math pre".split()) | (RAW_TEXT - {"title"})
"""Elements whose content is not translated."""
ATTRIBUTES = frozenset("alt title placeholder aria-label aria-description aria-placeholder".split())
META = frozenset("description keywords og:title og:description twitter:title twitter:description".split())
"""Names of the meta elements whose content is translated."""
BUTTONS = frozenset(("submit", "button", "reset"))
CHARSET = re.compile(
    rb"<meta[^>]{0,500}?charset\s*=\s*[\"']?\s*([\w.:-]+)|<\?xml[^>]{0,200}?encoding=[\"']([\w.:-]+)", re.I
)
HEAD = 4096
"""Bytes at the beginning in which the encoding is declared."""
DOCTYPE = re.compile(
    r"\s*(?:<!--.*?-->\s*|<\?xml[^>]*>\s*)*<(?:!doctype\s+html|html\b)", re.IGNORECASE | re.DOTALL
)


def looks_like_html(data: bytes) -> bool:
    """Whether a file begins as HTML does."""
    return DOCTYPE.match(data[:HEAD].decode("latin-1")) is not None


class HtmlDocument:
    """An HTML document or fragment; see `base.Document`."""

    notes: Sequence[str] = ()

    def __init__(self, data: bytes) -> None:
        """Raises: DataError: the text is not in the encoding that it declares, or that is unknown."""
        declared = CHARSET.search(data[:HEAD])
        self._file = decode(data, (declared[1] or declared[2]).decode() if declared else "", web=True)
        reader = _Reader(tokenize(self._file.text))
        self._tokens, self._texts, self._attributes = reader.tokens, reader.texts, reader.attributes
        self.segments = [text.segment for text in self._texts] + [segment for _, _, segment in self._attributes]
        root = next((token for token in self._tokens if token.kind == "start" and token.name == "html"), None)
        self._root = root
        self.language = (root.value("lang") or "" if root else "").strip()

    def render(self, translations: Sequence[str], language: str) -> bytes:
        """See `base.Document`. Characters that the encoding does not have are written as references."""
        raws = [token.raw for token in self._tokens]
        edits: dict[int, list[tuple[int, int, str]]] = {}
        for (index, attribute, segment), text in zip(
            self._attributes, translations[len(self._texts) :], strict=True
        ):
            if text != segment.text:
                edits.setdefault(index, []).append((attribute.start, attribute.end, _quoted(attribute, text)))
        if language and self._root is not None:
            edits.setdefault(self._tokens.index(self._root), []).extend(_language_edits(self._root, language))
        for index, changes in edits.items():
            for start, end, new in sorted(changes, reverse=True):
                raws[index] = raws[index][:start] + new + raws[index][end:]
        result: list[str] = []
        position = 0
        for part, translation in zip(self._texts, translations, strict=False):
            if translation != part.segment.text:
                result += [*raws[position : part.first], part.render(translation, raws)]
                position = part.last + 1
        return self._file.encode("".join([*result, *raws[position:]]), "xmlcharrefreplace")


class _Text:
    """A segment between two tokens: `first` and `last`, included."""

    def __init__(self, first: int) -> None:
        self.first = self.last = first
        self.coded = CodedText()
        self.opened: dict[int, int] = {}
        """Index of a start tag -> that of its pair."""
        self.segment = Segment("", "")

    def render(self, translation: str, raws: Sequence[str]) -> str:
        parts = []
        for piece in pieces(translation, self.coded.values):
            if isinstance(piece, str):
                parts.append(_escape(piece))
            else:
                kind, (first, last) = piece
                parts += (
                    raws[first : last + 1]
                    if kind in ("mark", "object")
                    else [raws[last if kind == "closing" else first]]
                )
        return "".join(parts)


class _Reader:
    """Finds the segments of a document.

    Attributes:
        texts: in order.
        attributes: (index of the tag, attribute, segment).
    """

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.texts: list[_Text] = []
        self.attributes: list[tuple[int, Attribute, Segment]] = []
        self._text: _Text | None = None
        states: list[tuple[int, bool]] = []  # (last token of an element, whether it is translated)
        index = 0
        while index < len(tokens):
            while states and index > states[-1][0]:
                states.pop()
            token, last = tokens[index], index
            if token.kind == "start":
                last = token.partner if token.partner is not None else index
                is_on = _is_translated(token, not states or states[-1][1])
                if token.name in OPAQUE or (not is_on and token.name in INLINE):
                    self._read_opaque(index, last)
                    index = last + 1
                    continue
                if is_on != (not states or states[-1][1]):
                    states.append((last, is_on))
            if not states or states[-1][1]:
                self._read(index, token)
            else:
                self._flush()
            index += 1
        self._flush()

    def _read(self, index: int, token: Token) -> None:
        if token.kind == "text":
            self._current(index).coded.add(unescape(token.raw))
        elif token.kind == "raw":  # of a title
            self._current(index).coded.add(unescape(token.raw))
            self._flush()
        elif token.kind == "other":
            self._current(index).coded.mark((index, index))
        elif token.kind == "start":
            self._read_attributes(index, token)
            if token.name not in INLINE:
                self._flush()
            elif token.partner is None:
                self._current(index).coded.mark((index, index))
            else:
                text = self._current(index)
                text.opened[index] = text.coded.open((index, index))
        elif token.name not in INLINE:
            self._flush()
        elif token.opener is not None and self._text is not None and token.opener in self._text.opened:
            text = self._current(index)
            pair = text.opened[token.opener]
            text.coded.close(pair)
            text.coded.values[pair] = (token.opener, index)
        else:
            self._current(index).coded.mark((index, index))

    def _read_opaque(self, first: int, last: int) -> None:
        if self.tokens[first].name in INLINE:
            self._current(last, first).coded.object((first, last))
        else:
            self._flush()

    def _read_attributes(self, index: int, token: Token) -> None:
        for attribute in token.attributes:
            if attribute.value and _is_read(token, attribute.name):
                text = CodedText()
                text.add(unescape(attribute.value.strip("\"'")))
                segment = Segment(str(text), f"line {token.line}", flows=True)
                self.attributes.append((index, attribute, segment))

    def _current(self, index: int, first: int | None = None) -> _Text:
        """The segment that goes on, or begins, with this token."""
        if self._text is not None and self._text.coded.is_full:
            self._flush()
        if self._text is None:
            self._text = _Text(index if first is None else first)
        self._text.last = index
        return self._text

    def _flush(self) -> None:
        """End the segment, if there is one."""
        if self._text is not None:
            text, self._text = self._text, None
            text.segment = Segment(str(text.coded), f"line {self.tokens[text.first].line}", flows=True)
            self.texts.append(text)


def _is_translated(token: Token, is_on: bool) -> bool:
    """Whether the content of an element is translated; `is_on`: that of its parent is."""
    value = token.value("translate")
    if "notranslate" in (token.value("class") or "").split():
        return False
    return is_on if value is None else value.lower() != "no"


def _is_read(token: Token, name: str) -> bool:
    """Whether an attribute is text for readers."""
    if token.name == "meta":
        return name == "content" and (token.value("name") or token.value("property") or "").lower() in META
    if token.name == "input" and name == "value":
        return (token.value("type") or "").lower() in BUTTONS
    return name in ATTRIBUTES


def _language_edits(root: Token, language: str) -> list[tuple[int, int, str]]:
    """The changes of an `html` tag that set its language."""
    edits = [
        (a.start, a.end, f'"{language}"') for a in root.attributes if a.name in ("lang", "xml:lang") and a.value
    ]
    return edits or [(len("<html"), len("<html"), f' lang="{language}"')]


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\u00a0", "&nbsp;")


def _quoted(attribute: Attribute, text: str) -> str:
    """The value of an attribute, with the quotation marks that it has."""
    mark = "'" if attribute.value.startswith("'") else '"'
    return mark + _escape(text).replace(mark, "&#39;" if mark == "'" else "&quot;") + mark
