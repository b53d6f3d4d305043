"""PO catalogues of gettext: entries without a translation, and fuzzy ones, are filled and marked as fuzzy.

polib reads the file. It is not used to write it, because it would break the lines of every entry anew: only the
lines of the filled entries are replaced.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from transformer_cli.data.filters.content import PLACEHOLDER, TAG
from transformer_cli.deployment.documents.base import CodedText, Segment, pair_tags, pieces
from transformer_cli.deployment.documents.encoding import decode
from transformer_cli.errors import ConfigError, DataError

CHARSET = re.compile(rb'^"Content-Type:[^"]{0,200}?charset=([\w.:-]+)', re.MULTILINE)
PRINTF = re.compile(
    r"%(?:\d+\$|\(\w+\))?[-+#0' ]*(?:\*|\d+)?(?:\.(?:\*|\d+))?"
    r"(?:hh|h|ll|l|q|j|z|t|L)?(?:[diouxXeEfFgGaAcCsSpnr@%]|<\w+>)"
)
"""A directive of printf and its relatives."""
NUMBERED = re.compile(r"%(?!%)(?!\d+\$|\()")
"""The beginning of a directive that takes the next argument."""
FORMATS = frozenset(
    "c-format objc-format python-format php-format perl-format lua-format tcl-format awk-format".split()
)
"""Flags of entries that have directives of printf."""
ORDERED = FORMATS - {"python-format", "lua-format", "perl-format", "awk-format"}
"""Those whose directives may name the argument by its number: `%2$s`."""
LANGUAGE = re.compile(r'^("Language: *)(\\n"\r?)$', re.MULTILINE)


def looks_like_po(data: bytes) -> bool:
    """Whether a file begins as PO catalogues do."""
    return re.match(rb'(?:\xef\xbb\xbf)?(?:\s|#[^\n]*\n)*msg(?:id|ctxt)[ \t]+"', data[: 1 << 16]) is not None


class PoDocument:
    """A PO catalogue; see `base.Document`. A segment is a `msgid` or a `msgid_plural`."""

    language = ""

    def __init__(self, data: bytes, *, retranslate: bool = False) -> None:
        """
        Args:
            retranslate: fill all entries, not only those without a finished translation.

        Raises:
            DataError: the file is no PO catalogue, or not in the encoding that it declares.
            ConfigError: the package polib is not installed.
        """
        declared = CHARSET.search(data)
        name = declared[1].decode() if declared else ""
        self._file = decode(data, "" if name == "CHARSET" else name)
        self._lines = self._file.text.split("\n")
        entries = _parse(self._file.text)
        self.entries = [_Entry(entry) for entry in entries if _is_open(entry, retranslate)]
        self.segments = [segment for entry in self.entries for segment in entry.segments]
        kept = len(entries) - len(self.entries)
        self.notes = [f"{kept} entries have a translation or are obsolete and were not changed"] if kept else []

    def render(self, translations: Sequence[str], language: str) -> bytes:
        """See `base.Document`. Raises: DataError: the file's encoding lacks a character of the translation."""
        bounds = [*(entry.first for entry in self.entries), len(self._lines)]
        lines, texts = self._lines[: bounds[0]], iter(translations)
        for entry, end in zip(self.entries, bounds[1:], strict=True):
            lines += entry.render(self._lines[entry.first : end], list(islice(texts, len(entry.segments))))
        text = "\n".join(lines)
        if language:
            text = LANGUAGE.sub(rf"\g<1>{language}\2", text, count=1)
        return self._file.encode(text)


class _Entry:
    """An entry to fill; `first` is the index of its first line."""

    def __init__(self, entry: Any) -> None:
        self.entry = entry
        self.first = max(0, entry.linenum - 2)  # polib counts from 1, and was given a line more
        sources = [entry.msgid, *([entry.msgid_plural] if entry.msgid_plural else [])]
        self._coded = [_code(source, frozenset(entry.flags)) for source in sources]
        self.segments = [Segment(str(coded), f"line {self.first + 1}") for coded in self._coded]

    def render(self, lines: Sequence[str], translations: Sequence[str]) -> list[str]:
        """The lines of the entry with translations, and what follows it."""
        from polib import POEntry

        end = "\r" if lines[0].endswith("\r") else ""
        texts = [
            self._text(translation, coded) for translation, coded in zip(translations, self._coded, strict=True)
        ]
        old = self.entry
        if old.msgid_plural:
            count = max(len(old.msgstr_plural), 1)
            forms = {i: texts[0] if i == 0 and count > 1 else texts[1] for i in range(count)}
            if "fuzzy" not in old.flags:
                forms |= {i: text for i, text in old.msgstr_plural.items() if text}
            new = POEntry(msgid="", msgid_plural="-", msgstr_plural=forms)
        else:
            new = POEntry(msgid="", msgstr=texts[0])
        written = str(new).split("\n")
        filled = [line for line in written[_first_msgstr(written) :] if line]
        first = _first_msgstr(lines)
        last = first + 1
        while last < len(lines) and lines[last].lstrip().startswith(('"', "msgstr")):
            last += 1
        return [*_with_fuzzy(lines[:first], end), *(line + end for line in filled), *lines[last:]]

    def _text(self, translation: str, coded: CodedText) -> str:
        """A translation with its placeholders; C finds their arguments by their order or their numbers."""
        parts = list(pieces(translation, coded.values))
        found = [part[1] for part in parts if not isinstance(part, str) and isinstance(part[1], _Directive)]
        texts = [directive.text for directive in found]
        if found != sorted(found, key=lambda directive: directive.number):
            if ORDERED & set(self.entry.flags) and not any("*" in text for text in texts):
                texts = [f"%{directive.number}${directive.text[1:]}" for directive in found]
            else:
                texts = [directive.text for directive in sorted(found, key=lambda directive: directive.number)]
        result, directives = "", iter(texts)
        for part in parts:
            if isinstance(part, str):
                result += part
            elif isinstance(part[1], _Directive):
                result += next(directives)
            else:
                result += part[1][part[0] == "closing"]
        return result


@dataclass(frozen=True)
class _Directive:
    """A directive of printf that takes the next argument; `number` counts them from 1."""

    text: str
    number: int


def _parse(text: str) -> list[Any]:
    """The entries of a catalogue, without its header. Raises: ConfigError, DataError."""
    try:
        from polib import pofile
    except ImportError:
        raise ConfigError(
            "a PO catalogue needs the package polib, which is not installed",
            hint="install it: pip install polib   (or this package with the extra [documents])",
        ) from None
    try:
        # A line before the text: polib would open a file whose path the text is.
        catalogue = pofile("\n" + text, encoding="utf-8")
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        line = re.search(r"line (\d+)", str(error))
        place = f"line {int(line[1]) - 1}: " if line else ""
        what = str(error).rpartition("): ")[2] if "): " in str(error) else "syntax error"
        raise DataError(f"{place}is not a PO catalogue: {what}", hint="check it: msgfmt --check FILE") from None
    return [entry for entry in catalogue if entry.msgid]


def _is_open(entry: Any, retranslate: bool) -> bool:
    """Whether an entry is to be filled."""
    return not entry.obsolete and (retranslate or not entry.translated())


def _code(text: str, flags: frozenset[str]) -> CodedText:
    """The text of an entry, with its placeholders and tags as codes."""
    coded = CodedText()
    directive = PRINTF.pattern if flags & FORMATS else r"(?!)"
    pattern = re.compile(f"(?P<tag>{TAG.pattern})|(?P<printf>{directive})|(?P<other>{PLACEHOLDER.pattern})")
    matches = list(pattern.finditer(text))
    tags = [match for match in matches if match["tag"]]
    pairs = {tags[o]: tags[c] for o, c in pair_tags([(t[2], t[0].startswith("</")) for t in tags]).items()}
    indices: dict[re.Match[str], int] = {}
    position = number = 0
    for match in matches:
        coded.add(text[position : match.start()])
        position = match.end()
        if match in pairs:
            indices[pairs[match]] = coded.open((match[0], pairs[match][0]))
        elif match in indices:
            coded.close(indices[match])
        elif match["tag"] or match[0] == "%%":
            coded.mark((match[0], ""))
        elif NUMBERED.match(match[0]):
            number += 1
            coded.object(_Directive(match[0], number))
        else:
            coded.object((match[0], ""))
    coded.add(text[position:])
    return coded


def _first_msgstr(lines: Sequence[str]) -> int:
    return next(i for i, line in enumerate(lines) if line.lstrip().startswith("msgstr"))


def _with_fuzzy(lines: Sequence[str], end: str) -> list[str]:
    """The lines of an entry before its translation, with the flag `fuzzy`."""
    result = list(lines)
    for index, line in enumerate(result):
        if line.startswith("#,"):
            flags = [flag.strip() for flag in line[2:].split(",")]
            result[index] = line if "fuzzy" in flags else f"#, fuzzy, {', '.join(flags)}{end}"
            return result
    place = next(i for i, line in enumerate(result) if line.startswith(("#|", "msg")))
    return [*result[:place], f"#, fuzzy{end}", *result[place:]]
