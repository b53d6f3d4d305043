"""Directions of translation, and the tags by which a model of several target languages is told the wanted one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from transformer_cli.schema.data import LANGUAGE

TAG = re.compile(f"<2({LANGUAGE})>")
"""A tag as it is named in the vocabulary; text never contains it (see `tokenizer.Tokenizer.tags`)."""


class Direction(NamedTuple):
    """Codes of the source and the target language."""

    source: str
    target: str

    def __str__(self) -> str:
        return f"{self.source}-{self.target}"


@dataclass(frozen=True)
class DirectedFiles:
    """The files of a corpus of one direction.

    Attributes:
        files: two text files, source first, or one file with both languages.
        swapped: the first language of the one file is the target, if its columns do not name their languages.
    """

    direction: Direction
    files: tuple[Path, ...]
    swapped: bool = False


def tag_of(language: str) -> str:
    """The name of the tag of a target language: `de` -> `<2de>`."""
    return f"<2{language}>"
