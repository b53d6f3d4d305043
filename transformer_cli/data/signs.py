"""Signs that a text came out of a table, a web page or a wrong conversion; `check` reports them.

They are no filters: the text can be repaired, or the pairs are to be read in another way.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from transformer_cli.data.filters.base import Pair
from transformer_cli.data.filters.content import ENTITY
from transformer_cli.data.normalization import INVISIBLE, QUOTED_CELL

KNOWN_ENTITIES = re.compile(r"&(?:amp|lt|gt|quot|apos|nbsp|#\d|#[xX])")
"""Beginnings of the entities that texts really have; a word after `&` and before `;` may be anything else."""


@dataclass(frozen=True)
class Sign:
    """A sign in a side of a pair.

    Attributes:
        is_in: whether a text shows it.
        mends: name of the normalisation that removes it; empty if there is none.
        min_share: share of the pairs from which it is one.
    """

    kind: str
    advice: str
    is_in: Callable[[str], bool]
    mends: str = ""
    min_share: float = 0.0

    def shows(self, pair: Pair) -> bool:
        """Whether a side of the pair shows it."""
        return self.is_in(pair.src) or self.is_in(pair.tgt)


def _has_entity(text: str) -> bool:
    return "&" in text and ENTITY.search(text) is not None and KNOWN_ENTITIES.search(text) is not None


def _is_quoted_cell(text: str) -> bool:
    """A whole line in quotation marks, with doubled ones or delimiters inside: not a sentence in quotation marks."""
    if len(text) < 3 or text[0] != '"' or text[-1] != '"' or not QUOTED_CELL.fullmatch(text):
        return False
    return '""' in text[1:-1] or '","' in text or '";"' in text


SIGNS = (
    Sign(
        "columns separated by tabs",
        "a table, not plain text: read it with --data FILE",
        lambda text: "\t" in text,
        min_share=0.5,
    ),
    Sign(
        "quoted cells",
        "cells of CSV: read the table with --data FILE, or remove the quotation marks",
        _is_quoted_cell,
        "cells",
    ),
    Sign(
        "lines in quotation marks",
        "so many whole lines in quotation marks are probably cells of CSV: read the table with --data FILE, or remove "
        "the quotation marks",
        lambda text: len(text) > 2 and text[0] == text[-1] == '"' and QUOTED_CELL.fullmatch(text) is not None,
        "cells",
        min_share=0.3,
    ),
    Sign("HTML entities", "&amp; and the like would be translated as they are", _has_entity, "entities"),
    Sign(
        "decomposed characters",
        "accents are characters of their own (not Unicode NFC), so that equal words look different",
        lambda text: not text.isascii() and not unicodedata.is_normalized("NFC", text),
        "nfc",
    ),
    Sign(
        "invisible characters",
        "soft hyphens or zero-width spaces inside words",
        lambda text: not text.isascii() and INVISIBLE.search(text) is not None,
        "spaces",
    ),
)
