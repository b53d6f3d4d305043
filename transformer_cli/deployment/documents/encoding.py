"""Text files as text, in the encoding in which they are written again."""

from __future__ import annotations

import codecs
from dataclasses import dataclass

from transformer_cli.errors import DataError

BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
UNSAFE = frozenset("utf-7 idna punycode unicode_escape raw_unicode_escape undefined mbcs oem hz".split())
"""Codecs of Python that are not encodings of text files, or in which text can hide."""
WEB_NAMES = {"iso8859-1": "windows-1252", "ascii": "windows-1252"}
"""What browsers take these encodings for."""


@dataclass(frozen=True)
class EncodedText:
    """The text of a file; `bom` and `encoding` as in the file."""

    text: str
    encoding: str
    bom: bytes = b""

    def encode(self, text: str, errors: str = "strict") -> bytes:
        """The bytes of another text.

        Args:
            errors: how Python encodes characters that the encoding does not have.

        Raises:
            DataError: the encoding does not have a character.
        """
        try:
            return self.bom + text.encode(self.encoding, errors)
        except UnicodeEncodeError as error:
            raise DataError(
                f"its encoding, {self.encoding}, lacks a character of the translation: {text[error.start]!r}",
                hint="convert the document to UTF-8 first",
            ) from None


def decode(data: bytes, declared: str = "", *, web: bool = False) -> EncodedText:
    """Decode a text file.

    Args:
        declared: the encoding that the file says it has; a byte-order mark overrules it. Default: UTF-8.
        web: names of encodings mean what they mean in browsers.

    Raises:
        DataError: the bytes are not text in this encoding, with the line.
    """
    for bom, encoding in BOMS:
        if data.startswith(bom):
            return EncodedText(_decode(data[len(bom) :], encoding), encoding, bom)
    try:
        encoding = codecs.lookup(declared or "utf-8").name
        "".encode(encoding)  # refuses codecs that are not for text
    except (LookupError, ValueError):
        encoding = "undefined"
    if encoding in UNSAFE:
        raise DataError(f"its encoding, {declared!r}, is not supported", hint="convert it to UTF-8")
    encoding = WEB_NAMES.get(encoding, encoding) if web else encoding
    return EncodedText(_decode(data, encoding), encoding)


def _decode(data: bytes, encoding: str) -> str:
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"line {line}: is not valid {encoding.upper()}",
            hint="convert it to UTF-8: iconv -f ENCODING -t UTF-8 FILE > NEW, for example from WINDOWS-1252",
        ) from None
    if "\0" in text:
        raise DataError("is not a text document: it has NUL characters")
    if text.encode(encoding, "replace") != data:
        raise DataError(f"its text in {encoding} cannot be written again as it was", hint="convert it to UTF-8")
    return text
