"""A pair of an English and a German text."""

from __future__ import annotations

import re

Pair = tuple[str, str]
"""(English, German)"""


def format_pair(pair: Pair, en: str, de: str) -> Pair:
    """Insert both texts into the templates of their language."""
    return en.format(pair[0]), de.format(pair[1])


def as_sentence(en: str, de: str, stop: str = ".") -> Pair:
    """Capitalize both sides, add the stop, and merge the commas where clause boundaries meet."""
    return _as_sentence(en, stop), _as_sentence(de, stop)


def _as_sentence(text: str, stop: str) -> str:
    text = re.sub(r"[\s,]*,[\s,]*", ", ", re.sub(r"\s+", " ", text)).strip(" ,")
    return text[0].upper() + text[1:] + stop
