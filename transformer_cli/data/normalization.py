"""Normalisation of text: each step is a switch of `data.normalization`."""

from __future__ import annotations

import html
import re
import unicodedata

from transformer_cli.data.filters.content import ENTITY
from transformer_cli.data.text import one_line
from transformer_cli.schema.data import NormalizationConfig

QUOTES = str.maketrans(
    {**dict.fromkeys("“”„‟«»〝〞", '"'), **dict.fromkeys("‘’‚‛‹›ʼ", "'")}
)
"""Typographic quotation marks -> straight ones."""
INVISIBLE = re.compile("[\u00ad\u200b\u2060\ufeff]")
"""Soft hyphen, zero-width space, word joiner, byte-order mark; not the joiners that some scripts need."""
QUOTED_CELL = re.compile(r'"((?:[^"]|"")*)"')
"""A cell of CSV in quotation marks."""


class Normalizer:
    """Applies the steps of a configuration, which change no text by default."""

    def __init__(self, config: NormalizationConfig) -> None:
        self.config = config
        self.is_identity = not any(config.model_dump().values())

    def __call__(self, text: str) -> str:
        """The normalised line."""
        c = self.config
        if self.is_identity:
            return text
        if c.cells:
            text = unquote_cell(text)
        if c.encoding and not text.isascii():
            import ftfy

            text = one_line(ftfy.fix_encoding(text))
        if c.entities and ENTITY.search(text):
            text = one_line(html.unescape(text))
        if c.nfc and not text.isascii():
            text = unicodedata.normalize("NFC", text)
        if c.quotes:
            text = text.translate(QUOTES)
        if c.spaces:
            text = " ".join(INVISIBLE.sub("", text).split())
        return text


def unquote_cell(text: str) -> str:
    """The content of a quoted cell of CSV; any other text as it is."""
    match = QUOTED_CELL.fullmatch(text.strip())
    return match[1].replace('""', '"') if match else text
