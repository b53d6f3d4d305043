"""Splits HTML into tags, text and the rest, without losing a character.

Parsers of HTML repair a document and write another one; here it is edited in place. The boundaries of tags and
text are those of the HTML standard (section 13.2.5), and are found in linear time. The standard library's
HTMLParser takes quadratic time with hostile text in older versions of Python.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

VOID = frozenset("area base br col embed hr img input link meta param source track wbr".split())
"""Elements without an end tag."""
RAW_TEXT = frozenset("script style textarea title xmp iframe noembed noframes".split())
"""Elements whose content has no tags."""
CLOSES = {
    **dict.fromkeys(
        "address article aside blockquote center details dialog dir div dl dd dt fieldset figcaption figure "
        "footer form h1 h2 h3 h4 h5 h6 header hgroup hr main menu nav ol p pre section summary table ul".split(),
        ("p",),
    ),
    "li": ("p", "li"), "dt": ("p", "dt", "dd"), "dd": ("p", "dt", "dd"), "option": ("option",),
    "optgroup": ("option", "optgroup"), "tr": ("tr", "td", "th"), "td": ("td", "th"), "th": ("td", "th"),
    "thead": ("tr", "td", "th"), "tbody": ("tr", "td", "th", "thead", "tbody"),
    "tfoot": ("tr", "td", "th", "thead", "tbody"),
}  # fmt: skip
"""Open elements that a start tag ends."""
SCOPES = frozenset("html table td th caption button object ul ol dl select template".split())
"""Elements whose content does not end elements outside them."""
MAX_DEPTH = 256
"""Elements that are open at a time; browsers have a similar limit."""
NAME = re.compile(r"</?([A-Za-z][^\s/>]*)")
ATTRIBUTE = re.compile(r"[\s/]*([^\s/>][^\s/>=]*)(?:\s*=\s*(\"[^\"]*\"|'[^']*'|[^\s>\"'][^\s>]*))?")


@dataclass(frozen=True)
class Attribute:
    """An attribute: its name in small letters, its value with quotation marks, and the place of the value."""

    name: str
    value: str
    start: int
    end: int


@dataclass
class Token:
    """A part of a document.

    Attributes:
        kind: `text`, `start`, `end` (tags), `raw` (the content of an element of `RAW_TEXT`) or `other`.
        raw: as in the document.
        line: number of its first line.
        name: of a tag, in small letters.
        attributes: of a start tag; places are in `raw`.
        partner: index of the last token of the element that this start tag opens.
        opener: index of the start tag that this end tag ends.
    """

    kind: str
    raw: str
    line: int = 0
    name: str = ""
    attributes: list[Attribute] = field(default_factory=list)
    partner: int | None = None
    opener: int | None = None

    def value(self, name: str) -> str | None:
        """The value of an attribute, without quotation marks."""
        return next((a.value.strip("\"'") for a in self.attributes if a.name == name), None)


def tokenize(source: str) -> list[Token]:
    """The tokens of a document; their raw texts, joined, are the document."""
    tokens, line = [], 1
    for token in _tokens(source):
        token.line = line
        line += token.raw.count("\n")
        tokens.append(token)
    _link(tokens)
    return tokens


def _tokens(source: str) -> Iterator[Token]:
    position = text_start = 0
    while (position := source.find("<", position)) >= 0:
        token = _markup(source, position)
        if token is None:
            position += 1
            continue
        if position > text_start:
            yield Token("text", source[text_start:position])
        yield token
        position += len(token.raw)
        if token.kind == "start" and token.name in RAW_TEXT:
            end = re.compile(rf"</{token.name}(?=[\s/>])", re.IGNORECASE).search(source, position)
            content = source[position : end.start() if end else len(source)]
            position += len(content)
            if content:
                yield Token("raw", content)
        text_start = position
    if text_start < len(source):
        yield Token("text", source[text_start:])


def _markup(source: str, start: int) -> Token | None:
    """The markup that begins here; None if this `<` is text. What is not closed reaches to the end."""
    if match := NAME.match(source, start):
        name, attributes, position = match[1].lower(), [], match.end()
        while found := ATTRIBUTE.match(source, position):
            position = found.end()
            attributes.append(
                Attribute(found[1].lower(), found[2] or "", found.start(2) - start, found.end(2) - start)
            )
        end = source.find(">", position) + 1 or len(source)
        raw = source[start:end]
        return Token("start", raw, 0, name, attributes) if raw[1] != "/" else Token("end", raw, 0, name)
    for opening, closing in (("<!--", "-->"), ("<![CDATA[", "]]>"), ("<!", ">"), ("<?", ">"), ("</", ">")):
        if source.startswith(opening, start):
            found_at = source.find(closing, start + (2 if opening == "<!--" else len(opening)))
            return Token("other", source[start : found_at + len(closing) if found_at >= 0 else len(source)])
    return None


def _link(tokens: list[Token]) -> None:
    """Find the end of each element; see `Token.partner`."""
    stack: list[int] = []
    open_names: Counter[str] = Counter()

    def close(depth: int, last: int) -> None:
        for index in stack[depth:]:
            tokens[index].partner = last
            open_names[tokens[index].name] -= 1
        del stack[depth:]

    for i, token in enumerate(tokens):
        if token.kind == "start":
            closes = CLOSES.get(token.name, ())
            for depth in range(len(stack) - 1, -1, -1) if any(open_names[name] for name in closes) else ():
                name = tokens[stack[depth]].name
                if name in closes:
                    close(depth, i - 1)
                elif name in SCOPES:
                    break
            if token.name not in VOID and not token.raw.endswith("/>") and len(stack) < MAX_DEPTH:
                stack.append(i)
                open_names[token.name] += 1
        elif token.kind == "end" and open_names[token.name]:
            depth = next(d for d in range(len(stack) - 1, -1, -1) if tokens[stack[d]].name == token.name)
            token.opener = stack[depth]
            close(depth + 1, i - 1)
            close(depth, i)
    close(0, len(tokens) - 1)
