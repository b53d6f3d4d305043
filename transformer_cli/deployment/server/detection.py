"""Identifies the language of a text, among those that the server translates."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from transformer_cli.data.filters.language import load_identifier
from transformer_cli.errors import ConfigError

MAX_CHARACTERS = 2000
"""Characters of a text that are looked at."""


def identify_language(text: str, languages: Sequence[str]) -> dict[str, Any]:
    """The likeliest of the languages, in LibreTranslate's format: `{"language", "confidence"}`, from 0 to 100.

    Without the package py3langid, or with languages that it does not know, the first one, with a confidence of 0.
    """
    if len(languages) == 1:
        return {"language": languages[0], "confidence": 100.0}
    identifier = _identifier()
    if identifier is None or not text.strip():
        return {"language": languages[0], "confidence": 0.0}
    ranked = dict(identifier.rank(text[:MAX_CHARACTERS]))
    best = max(languages, key=lambda language: ranked.get(language, 0.0))
    total = sum(ranked.get(language, 0.0) for language in languages)
    confidence = 100 * float(ranked.get(best, 0.0)) / float(total) if total else 0.0
    return {"language": best, "confidence": round(confidence, 1)}


@cache
def _identifier() -> Any:
    try:
        return load_identifier()
    except ConfigError:
        return None
