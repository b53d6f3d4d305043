"""XLIFF 1.2 and 2: targets without a finished translation are filled; inline elements stay on their words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from transformer_cli.deployment.documents.base import CodedText, Segment, pieces
from transformer_cli.deployment.documents.xml import import_lxml, parse_xml, write_xml
from transformer_cli.errors import DataError

SPACE = "{http://www.w3.org/XML/1998/namespace}space"
CONTAINERS = frozenset(("g", "pc", "mrk"))
"""Inline elements around text."""
STARTS = {"bpt": ("rid", "id"), "bx": ("rid", "id"), "sc": ("id",), "sm": ("id",)}
"""Inline elements that begin a pair -> attributes that name it, the first one that is there."""
ENDS = {"ept": ("rid", "id"), "ex": ("rid", "id"), "ec": ("startRef",), "em": ("startRef",)}
OPEN_STATES = frozenset(("new", "needs-translation", "initial"))
"""States of a target that has no finished translation yet."""
FILLED_STATE, FILLED_BY = "needs-review-translation", "leveraged-mt"
"""State of a target that was filled, and how, in XLIFF 1.2; in XLIFF 2 the state is `translated`."""


def looks_like_xliff(data: bytes) -> bool:
    """Whether a file begins as XLIFF does."""
    return re.search(rb"<(?:\w+:)?xliff[\s>]", data[:4096].replace(b"\0", b"")) is not None


class XliffDocument:
    """An XLIFF document; see `base.Document`. A segment is a source, or a part of it that is segmented."""

    def __init__(self, data: bytes, *, retranslate: bool = False) -> None:
        """
        Args:
            retranslate: fill all targets, not only those without a finished translation.

        Raises:
            DataError: malformed XML, entities, or no XLIFF.
            ConfigError: lxml is not installed.
        """
        self._data = data
        self._root = parse_xml(data)
        if _name(self._root) != "xliff":
            raise DataError(f"is no XLIFF document: its root element is <{_name(self._root)}>")
        self._is_v2 = (self._root.get("version") or "").startswith("2")
        self._files = [element for element in self._root if _name(element) == "file"]
        first = self._files[0] if self._files else self._root
        self.language = (self._root if self._is_v2 else first).get(
            "srcLang" if self._is_v2 else "source-language", ""
        )
        units = list(_units(self._root, self._is_v2))
        open_units = [unit for unit in units if retranslate or _is_open(unit, self._is_v2)]
        self._targets = [_Target(unit) for unit in open_units]
        self.segments = [segment for target in self._targets for segment in target.segments]
        kept = len(units) - len(open_units)
        self.notes = [f"{kept} targets have a translation and were not changed"] if kept else []

    def render(self, translations: Sequence[str], language: str) -> bytes:
        """See `base.Document`. Targets are filled also with an equal text."""
        texts = iter(translations)
        for target in self._targets:
            target.fill([next(texts) for _ in target.segments], self._is_v2)
        if not self._targets:
            return self._data
        for element in [self._root] if self._is_v2 else self._files:
            attribute = "trgLang" if self._is_v2 else "target-language"
            if language and not element.get(attribute):
                element.set(attribute, language)
        return write_xml(self._root)


@dataclass
class _Pair:
    """The two elements of a pair, such as `bpt` and `ept`, or the one around its text."""

    start: Any
    end: Any = None


class _Target:
    """The target of a unit: a copy of its source, in which the text is replaced.

    Attributes:
        segments: the parts of the source that are translated.
    """

    def __init__(self, unit: Any) -> None:
        self._unit = unit
        children = {_name(child): child for child in unit if isinstance(child.tag, str)}
        self._source = children["source"]
        self._old = children.get("target")
        model = children.get("seg-source", self._source)
        self._new = deepcopy(model)
        self._new.tail = None
        self._new.tag = self._source.tag[: -len("source")] + "target"
        marked = [e for e in self._new.iter() if _name(e) == "mrk" and e.get("mtype") == "seg"]
        self._parts = marked or [self._new]
        self._coded = [_code(part) for part in self._parts]
        flows = not any(e.get(SPACE) == "preserve" for e in (unit, self._source, *unit.iterancestors()))
        self.segments = [Segment(str(coded), f"line {unit.sourceline}", flows) for coded in self._coded]

    def fill(self, translations: Sequence[str], is_v2: bool) -> None:
        """Write the target."""
        for part, coded, text in zip(self._parts, self._coded, translations, strict=True):
            _fill(part, pieces(text, coded.values))
        for name, value in self._old.attrib.items() if self._old is not None else ():
            self._new.set(name, value)
        if is_v2:
            self._unit.set("state", "translated")
            self._unit.attrib.pop("subState", None)
        else:
            self._new.set("state", FILLED_STATE)
            self._new.set("state-qualifier", FILLED_BY)
        if self._old is not None:
            self._new.tail = self._old.tail
            self._unit.replace(self._old, self._new)
            return
        before = self._unit.find("{*}seg-source")
        before = self._source if before is None else before
        self._new.tail = before.tail
        before.addnext(self._new)


def _name(element: Any) -> str:
    """The name of an element without its namespace; empty for comments."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def _units(root: Any, is_v2: bool) -> Iterator[Any]:
    """The elements with a source and a target that are translated: `trans-unit`, or `segment` of XLIFF 2."""
    for element in root.iter("{*}segment" if is_v2 else "{*}trans-unit"):
        if element.find("{*}source") is None:
            continue
        flags = (ancestor.get("translate") for ancestor in (element, *element.iterancestors()))
        if next((flag for flag in flags if flag), "yes") != "no":
            yield element


def _is_open(unit: Any, is_v2: bool) -> bool:
    """Whether a unit has no finished translation."""
    target = unit.find("{*}target")
    if unit.get("approved") == "yes":
        return False
    if target is None or not (len(target) or (target.text or "").strip()):
        return True
    return (unit if is_v2 else target).get("state") in OPEN_STATES


def _code(element: Any) -> CodedText:
    """The text of an element, with its inline elements as codes."""
    coded = CodedText()
    pairs: dict[tuple[str, str], int] = {}
    ends = {_key(e, ENDS) for e in element.iter() if _name(e) in ENDS}

    def read(parent: Any) -> None:
        coded.add(parent.text or "")
        for child in parent:
            name = _name(child)
            is_protected = child.get("translate") == "no" or child.get("mtype") == "protected" if name else False
            if name in CONTAINERS and not is_protected:
                index = coded.open(_Pair(child))
                read(child)
                coded.close(index)
            elif name in CONTAINERS:
                coded.object(_Pair(child))
            elif name in STARTS and (key := _key(child, STARTS)) in ends and key not in pairs:
                pairs[key] = coded.open(_Pair(child))
            elif (
                name in ENDS
                and (index := pairs.get(_key(child, ENDS), -1)) >= 0
                and (coded.values[index].end is None)
            ):
                coded.values[index].end = child
                coded.close(index)
            else:
                coded.mark(_Pair(child))
            coded.add(child.tail or "")

    read(element)
    return coded


def _key(element: Any, attributes: dict[str, tuple[str, ...]]) -> tuple[str, str]:
    """What the two elements of a pair have in common."""
    kind = "m" if _name(element) in ("sm", "em") else "x" if _name(element) in ("bx", "ex") else ""
    return kind, next((element.get(a) for a in attributes[_name(element)] if element.get(a)), "")


def _fill(element: Any, parts: Iterator[str | tuple[str, Any]]) -> None:
    """Replace the content of an element."""
    for child in list(element):
        element.remove(child)
    element.text = None
    stack = [element]
    for part in parts:
        parent = stack[-1]
        if isinstance(part, str):
            if len(parent):
                parent[-1].tail = (parent[-1].tail or "") + part
            else:
                parent.text = (parent.text or "") + part
            continue
        kind, pair = part
        is_container = pair.end is None and _name(pair.start) in CONTAINERS and kind in ("opening", "closing")
        if is_container and kind == "opening":
            new = import_lxml().SubElement(parent, pair.start.tag, pair.start.attrib)
            stack.append(new)
        elif is_container:
            del stack[max(1, len(stack) - 1) :]
        else:
            copy = deepcopy(pair.end if kind == "closing" else pair.start)
            copy.tail = None
            parent.append(copy)
