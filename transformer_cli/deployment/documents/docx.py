"""Word documents (.docx): paragraphs of the text, of tables, text boxes, headers, footers and notes.

The paragraphs are edited in the XML of the document. python-docx is not used, because it does not reach footnotes,
text boxes and content controls.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from transformer_cli.deployment.documents.base import CodedText, Segment, pieces
from transformer_cli.deployment.documents.docx_package import Package
from transformer_cli.deployment.documents.xml import import_lxml, parse_xml, write_xml

NAMESPACE = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
SPACE = "{http://www.w3.org/XML/1998/namespace}space"
SDT, SDT_CONTENT = f"{NAMESPACE}sdt", f"{NAMESPACE}sdtContent"
"""Content controls."""
CONTAINERS = frozenset((SDT, *(f"{NAMESPACE}{name}" for name in ("hyperlink", "ins", "moveTo", "smartTag"))))
"""Elements around runs that stay around the translation of their text."""
FIELD = f"{NAMESPACE}fldSimple"
IGNORED = frozenset(f"{NAMESPACE}{name}" for name in ("proofErr", "lastRenderedPageBreak", "softHyphen"))
"""Elements that a word processor writes anew; a translated paragraph does not have them."""
TRANSLATED_FIELDS = frozenset(("HYPERLINK", "TOC", "QUOTE", "IF", "MERGEFORMAT"))
"""Fields whose results are text; other results, such as page numbers, stay."""
NO_FORMAT = frozenset(f"{NAMESPACE}{name}" for name in ("lang", "noProof"))
"""Properties of runs that are no formatting."""


class DocxDocument:
    """A Word document; see `base.Document`. A segment is a paragraph."""

    def __init__(self, data: bytes) -> None:
        """Raises: DataError: damaged, encrypted, too large, or no Word document. ConfigError: lxml is missing."""
        self._data = data
        self._package = Package(data)
        self._roots = {name: parse_xml(self._package.read(name), name) for name in self._package.parts}
        self._paragraphs = [p for name, root in self._roots.items() for p in _paragraphs(name, root)]
        self.segments = [paragraph.segment for paragraph in self._paragraphs]
        self.language = self._read_language()
        large = sum(paragraph.coded.is_full for paragraph in self._paragraphs)
        self.notes = [f"{large} paragraphs with very much formatting are not translated"] if large else []

    def _read_language(self) -> str:
        if not self._package.styles:
            return ""
        root = parse_xml(self._package.read(self._package.styles), self._package.styles)
        element = root.find(f"{NAMESPACE}docDefaults//{NAMESPACE}lang")
        return "" if element is None else element.get(f"{NAMESPACE}val", "")

    def render(self, translations: Sequence[str], language: str) -> bytes:
        """See `base.Document`. Without a change, the bytes are the same."""
        changed = set()
        for paragraph, text in zip(self._paragraphs, translations, strict=True):
            if text != paragraph.segment.text:
                paragraph.fill(text, language)
                changed.add(paragraph.part)
        if not changed:
            return self._data
        return self._package.write({name: write_xml(self._roots[name], True) for name in changed})


@dataclass
class _Format:
    """The formatting of runs: their properties, or None."""

    properties: Any


@dataclass
class _Container:
    """An element around runs, such as a link or a content control."""

    element: Any

    @property
    def content(self) -> Any:
        """The element that has the runs as its children."""
        found = self.element.find(SDT_CONTENT) if self.element.tag == SDT else None
        return self.element if found is None else found

    def emptied(self) -> _Container:
        """A copy without runs."""
        copy = _Container(self.element.makeelement(self.element.tag, self.element.attrib, self.element.nsmap))
        for child in self.element if self.element.tag == SDT else ():
            copy.element.append(child.makeelement(child.tag) if child.tag == SDT_CONTENT else deepcopy(child))
        return copy


@dataclass
class _Element:
    """An element that stays as it is: a bookmark, or the content of a run, such as a picture."""

    element: Any
    run: Any = None

    def placed(self) -> Any:
        """The element, in a run with the properties of its own run. It is no copy: its text may change, too."""
        if self.run is None:
            return self.element
        run = self.run.makeelement(self.run.tag, self.run.attrib, self.run.nsmap)
        properties = self.run.find(f"{NAMESPACE}rPr")
        if properties is not None:
            run.append(deepcopy(properties))
        run.append(self.element)
        return run


@dataclass
class _Field:
    """A field that has begun: what it does, and whether its result has begun."""

    instruction: str = ""
    has_result: bool = False

    @property
    def is_translated(self) -> bool:
        return (self.instruction.split() or [""])[0].upper() in TRANSLATED_FIELDS


def _paragraphs(part: str, root: Any) -> Iterator[_Paragraph]:
    """The paragraphs of a part in order; fields may reach over several of them."""
    fields: list[_Field] = []
    for number, element in enumerate(root.iter(f"{NAMESPACE}p"), 1):
        reader = _Reader(fields)
        reader.read(element)
        yield _Paragraph(part, number, element, reader)


class _Paragraph:
    """A paragraph.

    Attributes:
        part: name of its part.
        segment: its text.
    """

    def __init__(self, part: str, number: int, element: Any, reader: _Reader) -> None:
        self.part, self._element = part, element
        self._base, self.coded = reader.finish()
        text = "" if self.coded.is_full else str(self.coded)
        self.segment = Segment(text, f"{part}: paragraph {number}")

    def fill(self, text: str, language: str) -> None:
        """Replace the content by a translation."""
        properties = self._element.find(f"{NAMESPACE}pPr")
        for child in list(self._element):
            if child is not properties:
                self._element.remove(child)
        open_pairs: list[tuple[Any, Any]] = []  # (markup, its new element)
        for piece in pieces(text, self.coded.values):
            parent = next((new for _, new in reversed(open_pairs) if new is not None), self._element)
            if isinstance(piece, str):
                formats = [value.properties for value, _ in open_pairs if isinstance(value, _Format)]
                run = _new_run(piece, formats[-1] if formats else self._base, language)
                parent.append(run)
                continue
            kind, value = piece
            if kind == "opening":
                new = None
                if isinstance(value, _Container):
                    container = value.emptied()
                    parent.append(container.element)
                    new = container.content
                open_pairs.append((value, new))
            elif kind == "closing":
                open_pairs = [pair for pair in open_pairs if pair[0] is not value]
            else:
                parent.append(value.placed())


@dataclass
class _Reader:
    """Reads the content of a paragraph.

    Attributes:
        fields: those that are open, the innermost last; changed by reading.
    """

    fields: list[_Field]
    _items: list[tuple[str, str, Any]] = field(default_factory=list)
    """(kind, text or key of the format, value): kind is `text`, `open`, `close`, `mark` or `object`."""
    _formats: dict[str, Any] = field(default_factory=dict)
    """Key of a format -> properties of the first run that has it."""

    def read(self, parent: Any) -> None:
        """Read the children of a paragraph or container."""
        for child in parent:
            tag = child.tag
            if tag == f"{NAMESPACE}r":
                self._read_run(child)
            elif tag in CONTAINERS:
                container = _Container(child)
                self._items.append(("open", "", container))
                self.read(container.content)
                self._items.append(("close", "", container))
            elif tag not in IGNORED and tag != f"{NAMESPACE}pPr":
                is_word = isinstance(tag, str) and (tag == FIELD or not tag.startswith(NAMESPACE))  # or a formula
                self._items.append(("object" if is_word else "mark", "", _Element(child)))

    def _read_run(self, run: Any) -> None:
        properties = run.find(f"{NAMESPACE}rPr")
        key = _format_key(properties)
        self._formats.setdefault(key, properties)
        for child in run:
            if child.tag == f"{NAMESPACE}rPr" or child.tag in IGNORED:
                continue
            self._read_field(child)
            text = _text_of(child)
            if text is not None and all(field.is_translated for field in self.fields if field.has_result):
                self._items.append(("text", key, text))
            else:
                self._items.append(("mark" if text is None else "object", "", _Element(child, run)))

    def _read_field(self, child: Any) -> None:
        if child.tag == f"{NAMESPACE}instrText" and self.fields:
            self.fields[-1].instruction += child.text or ""
        if child.tag != f"{NAMESPACE}fldChar":
            return
        kind = child.get(f"{NAMESPACE}fldCharType")
        if kind == "begin" and len(self.fields) < 100:
            self.fields.append(_Field())
        elif kind == "separate" and self.fields:
            self.fields[-1].has_result = True
        elif kind == "end" and self.fields:
            self.fields.pop()

    def finish(self) -> tuple[Any, CodedText]:
        """The properties of most of the text, and the text, with other formats and elements as markup."""
        sizes: Counter[str] = Counter()
        for kind, key, value in self._items:
            if kind == "text":
                sizes[key] += len(value)
        base = max(sizes, key=lambda key: sizes[key], default="")
        coded = CodedText()
        containers: list[int] = []
        current, opened = base, -1
        for kind, key, value in self._items:
            if coded.is_full:
                break
            if opened >= 0 and not (kind == "text" and key == current):
                coded.close(opened)
                current, opened = base, -1
            if kind == "text":
                if key != current:
                    current, opened = key, coded.open(_Format(self._formats[key]))
                coded.add(value)
            elif kind == "open":
                containers.append(coded.open(value))
            elif kind == "close":
                coded.close(containers.pop())
            elif kind == "object":
                coded.object(value)
            else:
                coded.mark(value)
        if opened >= 0:
            coded.close(opened)
        return self._formats.get(base), coded


def _text_of(child: Any) -> str | None:
    """The text that a child of a run stands for; None for other content."""
    if child.tag == f"{NAMESPACE}t":
        return child.text or ""
    if child.tag == f"{NAMESPACE}tab":
        return "\t"
    if child.tag == f"{NAMESPACE}noBreakHyphen":
        return "\u2011"
    if child.tag == f"{NAMESPACE}cr" or (
        child.tag == f"{NAMESPACE}br" and child.get(f"{NAMESPACE}type", "textWrapping") == "textWrapping"
    ):
        return "\n"
    return None


def _format_key(properties: Any) -> str:
    """A text that is equal for equal formats."""
    if properties is None:
        return ""
    etree = import_lxml()
    return "".join(
        sorted(etree.tostring(child, method="c14n").decode() for child in properties if child.tag not in NO_FORMAT)
    )


def _new_run(text: str, properties: Any, language: str) -> Any:
    """A run with this text; tabs and line breaks become elements."""
    etree = import_lxml()
    run = etree.Element(f"{NAMESPACE}r")
    if properties is not None:
        run.append(deepcopy(properties))
        for element in run.iter(f"{NAMESPACE}lang"):
            if language:
                element.set(f"{NAMESPACE}val", language)
    position = 0
    for index, character in enumerate([*text, "\t"]):
        if character in "\t\n":
            if index > position:
                element = etree.SubElement(run, f"{NAMESPACE}t", {SPACE: "preserve"})
                element.text = text[position:index]
            if index < len(text):
                etree.SubElement(run, f"{NAMESPACE}{'tab' if character == chr(9) else 'br'}")
            position = index + 1
    return run
