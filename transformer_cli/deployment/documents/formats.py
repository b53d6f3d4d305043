"""The formats of documents: which one a file has, and reading it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePath

from transformer_cli.data.text import open_file
from transformer_cli.deployment.documents.base import (
    MAX_BYTES,
    Document,
    DocumentTooLargeError,
    UnsupportedDocumentError,
)
from transformer_cli.deployment.documents.docx import DocxDocument
from transformer_cli.deployment.documents.html import HtmlDocument, looks_like_html
from transformer_cli.deployment.documents.po import PoDocument, looks_like_po
from transformer_cli.deployment.documents.subtitles import SubtitlesDocument, looks_like_subtitles
from transformer_cli.deployment.documents.xliff import XliffDocument, looks_like_xliff
from transformer_cli.errors import ConfigError, DataError

HEAD = 1 << 16
"""Bytes by which a format is recognised."""
MAX_ARCHIVE = 256 << 20
"""Maximum size of a Word document; the sizes of its parts are limited separately."""
TEXT = "text"
"""The name of no format: lines of text."""
OLD_WORD, ENCRYPTED = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "EncryptedPackage".encode("utf-16-le")
"""First bytes of old and of encrypted documents, and what only the latter have."""


@dataclass(frozen=True)
class DocumentFormat:
    """A format.

    Attributes:
        name: on the command line.
        title: for messages.
        suffixes: of file names.
        read: the document, from its bytes, and whether finished translations in it are replaced.
        begins: whether a file that begins with these bytes has this format.
        is_binary: whether it is no text.
        states_language: whether its documents say in which language their text is.
    """

    name: str
    title: str
    suffixes: tuple[str, ...]
    read: Callable[[bytes, bool], Document]
    begins: Callable[[bytes], bool]
    is_binary: bool = False
    states_language: bool = False


def _looks_like_docx(data: bytes) -> bool:
    return data.startswith(b"PK\x03\x04") and b"word/" in data


FORMATS = (
    DocumentFormat(
        name="srt",
        title="subtitles",
        suffixes=(".srt", ".vtt"),
        read=lambda data, retranslate: SubtitlesDocument(data),
        begins=looks_like_subtitles,
    ),
    DocumentFormat(
        name="po",
        title="PO catalogue",
        suffixes=(".po", ".pot"),
        read=lambda data, retranslate: PoDocument(data, retranslate=retranslate),
        begins=looks_like_po,
    ),
    DocumentFormat(
        name="html",
        title="HTML",
        suffixes=(".html", ".htm", ".xhtml"),
        read=lambda data, retranslate: HtmlDocument(data),
        begins=looks_like_html,
        states_language=True,
    ),
    DocumentFormat(
        name="docx",
        title="Word document",
        suffixes=(".docx", ".docm", ".dotx"),
        read=lambda data, retranslate: DocxDocument(data),
        begins=_looks_like_docx,
        is_binary=True,
        states_language=True,
    ),
    DocumentFormat(
        name="xliff",
        title="XLIFF",
        suffixes=(".xlf", ".xliff", ".sdlxliff", ".mqxliff"),
        read=lambda data, retranslate: XliffDocument(data, retranslate=retranslate),
        begins=looks_like_xliff,
    ),
)
NAMES = (TEXT, *(form.name for form in FORMATS))
UNREADABLE = {
    ".doc": ("an old Word file", "open it in a word processor and save it as .docx"),
    ".pdf": ("a PDF, which has no paragraphs that could be replaced", "translate the document it was made from"),
    ".odt": ("an OpenDocument text", "save it as .docx"),
    ".rtf": ("an RTF document", "save it as .docx"),
    ".pptx": ("a presentation", "save its text as .docx, .html or plain text"),
    ".xlsx": ("a spreadsheet", "save its text as .docx, .html or plain text"),
    ".epub": ("an e-book", "unzip it and translate its .xhtml files"),
}
"""Suffixes of documents that cannot be translated -> (what they are, remedy)."""


def find_format(path: Path, name: str | None = None) -> DocumentFormat | None:
    """The format of a file, by its name and then by its content; None for lines of text.

    Args:
        name: one of `NAMES`; None recognises it.

    Raises:
        ConfigError: no such format.
        DataError: a document that cannot be translated, or a file that cannot be read.
    """
    if name is not None and name not in NAMES:
        raise ConfigError(f"--document-format {name}: unknown format", hint=f"choose one of {', '.join(NAMES)}")
    if name is not None:
        return next((form for form in FORMATS if form.name == name), None)
    try:
        by_name = format_by_name(path.name)
    except UnsupportedDocumentError as error:
        hint = f"{error.hint}; or give --document-format if the name is wrong"
        raise DataError(f"{path}: {error.what}", hint=hint) from None
    if by_name is not None:
        return by_name
    if path.exists() and not path.is_file():  # a pipe: what is read cannot be read again
        return None
    with open_file(path) as stream:
        return format_by_content(stream.read(HEAD))


def format_by_name(name: str) -> DocumentFormat | None:
    """The format of a file by the suffix of its name. Raises: UnsupportedDocumentError."""
    suffix = PurePath(name).suffix.lower()
    if suffix in UNREADABLE:
        what, remedy = UNREADABLE[suffix]
        raise UnsupportedDocumentError(f"is {what}", hint=remedy)
    return next((form for form in FORMATS if suffix in form.suffixes), None)


def format_by_content(data: bytes) -> DocumentFormat | None:
    """The format of a file that begins with these bytes."""
    return next((form for form in FORMATS if form.begins(data[:HEAD])), None)


def read_document(path: Path, form: DocumentFormat, *, retranslate: bool = False) -> Document:
    """Read a document.

    Args:
        retranslate: replace also finished translations in the document.

    Raises:
        DataError: the file cannot be read, is too large, or is not what its format says; with the file's name.
        ConfigError: a package is missing.
    """
    limit = MAX_ARCHIVE if form.is_binary else MAX_BYTES
    with open_file(path) as stream:
        return parse_document(stream.read(limit + 1), form, retranslate=retranslate)


def parse_document(data: bytes, form: DocumentFormat, *, retranslate: bool = False) -> Document:
    """The document that a file contains.

    Raises:
        DocumentTooLargeError: it is larger than the limits.
        UnsupportedDocumentError: an encrypted one, or of a format that cannot be translated.
        DataError: it is not what its format says.
        ConfigError: a package is missing.
    """
    limit = MAX_ARCHIVE if form.is_binary else MAX_BYTES
    if len(data) > limit:
        raise DocumentTooLargeError(f"has more than {limit >> 20} MiB", hint="split the document")
    if data.startswith(OLD_WORD):
        if ENCRYPTED in data:
            raise UnsupportedDocumentError("is encrypted", hint="save it without a password")
        raise UnsupportedDocumentError(f"is {UNREADABLE['.doc'][0]}", hint=UNREADABLE[".doc"][1])
    if data.startswith(b"%PDF-"):
        raise UnsupportedDocumentError(f"is {UNREADABLE['.pdf'][0]}", hint=UNREADABLE[".pdf"][1])
    return form.read(data, retranslate)
