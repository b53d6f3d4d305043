"""The zip archive of a Word document: which parts it has, read and written with bounded memory."""

from __future__ import annotations

import zipfile
import zlib
from io import BytesIO
from typing import Any

from transformer_cli.deployment.documents.base import MAX_BYTES, DocumentTooLargeError, UnsupportedDocumentError
from transformer_cli.deployment.documents.xml import parse_xml
from transformer_cli.errors import DataError

MAX_MEMBERS = 10_000
MAX_EXPANDED = 512 << 20
"""Maximum size of all parts of a document, images included."""
CONTENT_TYPES = "[Content_Types].xml"
WORD = "application/vnd.openxmlformats-officedocument.wordprocessingml."
MAIN = ("document.main+xml", "template.main+xml")
PARTS = (*MAIN, "header+xml", "footer+xml", "footnotes+xml", "endnotes+xml")
"""Kinds of parts whose text is translated."""
NOT_WORD = "is damaged, or not a Word document (.docx)"
OTHERS = {"spreadsheetml": "a spreadsheet", "presentationml": "a presentation"}


class Package:
    """The parts of a document.

    Attributes:
        parts: names of the parts with text, the main one first.
        styles: name of the part with the styles; empty if there is none.
    """

    def __init__(self, data: bytes) -> None:
        """Raises: DataError: not a Word document, damaged, encrypted, or larger than the limits."""
        try:
            self._archive = zipfile.ZipFile(BytesIO(data))
        except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError):
            raise DataError(NOT_WORD, hint="open it in a word processor and save it as .docx") from None
        members = self._archive.infolist()
        if len(members) > MAX_MEMBERS or sum(member.file_size for member in members) > MAX_EXPANDED:
            raise DocumentTooLargeError(
                f"has more than {MAX_MEMBERS:,} parts or {MAX_EXPANDED >> 20} MiB of content",
                hint="split the document, or remove images",
            )
        if any(member.flag_bits & 1 for member in members):
            raise UnsupportedDocumentError("is encrypted", hint="save it without a password")
        if len({member.filename for member in members}) < len(members) or CONTENT_TYPES not in self.names:
            raise DataError(NOT_WORD, hint="open it in a word processor and save it as .docx")
        kinds = self._kinds()
        self.parts = [name for kind in PARTS for name, of in kinds.items() if of == WORD + kind]
        self.styles = next((name for name, of in kinds.items() if of == WORD + "styles+xml"), "")
        if not any(kinds[name] in (WORD + MAIN[0], WORD + MAIN[1]) for name in self.parts):
            what = next((what for word, what in OTHERS.items() if word in str(kinds)), "a zip archive")
            raise UnsupportedDocumentError(
                f"is {what}, not a Word document",
                hint="save its text as .docx, .html or plain text",
            )

    @property
    def names(self) -> list[str]:
        return self._archive.namelist()

    def read(self, name: str, limit: int = MAX_BYTES) -> bytes:
        """The content of a part. Raises: DataError: damaged, or larger than `limit` bytes."""
        try:
            with self._archive.open(name) as stream:
                content = stream.read(limit + 1)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError):
            raise DataError(f"{name}: is damaged", hint="open the document and save it again") from None
        if len(content) > limit:
            raise DocumentTooLargeError(f"{name}: has more than {limit >> 20} MiB", hint="split the document")
        return content

    def write(self, changed: dict[str, bytes]) -> bytes:
        """The archive with other contents of some parts. Raises: DataError: a part is damaged."""
        output, total = BytesIO(), 0
        with zipfile.ZipFile(output, "w") as archive:
            for member in self._archive.infolist():
                content = changed.get(member.filename)
                if content is None:
                    content = self.read(member.filename, MAX_EXPANDED - total)
                    total += len(content)
                info = zipfile.ZipInfo(member.filename, member.date_time)
                info.compress_type = member.compress_type
                info.external_attr, info.create_system = member.external_attr, member.create_system
                archive.writestr(info, content)
        return output.getvalue()

    def _kinds(self) -> dict[str, str]:
        """Content type of each part that has one of its own, and that exists."""
        names = {name.lower(): name for name in self.names}
        kinds: dict[str, str] = {}
        root: Any = parse_xml(self.read(CONTENT_TYPES), CONTENT_TYPES)
        for element in root.iterchildren("{*}Override"):
            name = names.get(element.get("PartName", "").lstrip("/").lower())
            if name is not None:
                kind = element.get("ContentType", "")
                kinds[name] = kind.replace("application/vnd.ms-word.", WORD).replace(".macroEnabled", "")
        return kinds
