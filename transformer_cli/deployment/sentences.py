"""Splits text into sentences, the unit that models are trained on."""

from __future__ import annotations

import re
from typing import Any

from transformer_cli.errors import ConfigError

DEFAULT_LANGUAGE = "en"
"""Rules for text whose language is not known. They suit most languages; abbreviations are those of English."""
MAX_CHARACTERS = 10_000
"""Characters that are split at a time: with some text the time is quadratic."""
BREAK = re.compile("[\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029]+")
"""No sentence continues after these."""
SPACE = re.compile(r"\s")


def split_sentences(text: str, language: str = DEFAULT_LANGUAGE) -> list[str]:
    """The sentences of a text, each with the spaces and line breaks after it; joined, they are the text.

    Args:
        language: its code, such as `de` or `pt-BR`.

    Raises:
        ConfigError: the package sentencex is not installed.
    """
    segment = _import_sentencex()
    code = re.split("[-_]", language or DEFAULT_LANGUAGE)[0].lower()
    sentences: list[str] = []
    position = 0
    while position < len(text):
        found = BREAK.search(text, position)
        end = found.end() if found else len(text)
        sentences += _split_line(text[position:end], code, segment)
        position = end
    return sentences


def _split_line(line: str, code: str, segment: Any) -> list[str]:
    sentences: list[str] = []
    while line:
        chunk, line = line[:MAX_CHARACTERS], line[MAX_CHARACTERS:]
        if line and (end := chunk.rfind(" ") + 1):
            chunk, line = chunk[:end], chunk[end:] + line
        position = 0
        for sentence in _segment(chunk, code, segment):
            part = chunk[position : position + len(sentence)]
            position += len(sentence)
            if sentences and not part.strip():
                sentences[-1] += part
            else:
                sentences.append(part)
    return sentences


def _segment(line: str, code: str, segment: Any) -> list[str]:
    """The sentences of a line. sentencex 1.0 panics at some spaces that are not ASCII, so it is given others."""
    try:
        sentences: list[str] = segment(code, SPACE.sub(" ", line))
    except BaseException as error:  # a panic of Rust code is no Exception
        if type(error).__name__ != "PanicException":
            raise
        return [line]
    return sentences if sum(map(len, sentences)) == len(line) else [line]


def _import_sentencex() -> Any:
    try:
        from sentencex import segment
    except ImportError:
        raise ConfigError(
            "splitting text into sentences needs the package sentencex, which is not installed",
            hint="install it: pip install sentencex   (or this package with the extra [documents] or [serve])",
        ) from None
    return segment
