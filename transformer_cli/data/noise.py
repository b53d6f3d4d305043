"""Noise on source sentences, as users type them: other case, missing punctuation, typing errors.

A model that has only seen edited text translates such input badly; training on a share of noisy sentences makes it
robust (Belinkov and Bisk 2018, section 5). Targets stay clean.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

PUNCTUATION = re.compile(r"(?<!\d)[.,;:!?…。、！？](?!\w)")
"""Punctuation marks, but none inside numbers, abbreviations or addresses."""
WORD = re.compile(r"[^\W\d_]{4,}")
"""Words in which typing errors are made: letters only, and long enough to be recognised."""
LETTERS_PER_ERROR = 40
"""Average number of letters to a typing error: one or two errors in a sentence."""


class SourceNoise:
    """Changes a share of the sentences, each in one way that is drawn from `kinds`."""

    def __init__(self, share: float, kinds: Sequence[str]) -> None:
        """
        Args:
            share: probability that a sentence is changed.
            kinds: names of `KINDS`; at least one.
        """
        self.share = share
        self.changes = [KINDS[kind] for kind in kinds]

    def __call__(self, lines: Sequence[str], random: np.random.Generator) -> list[str]:
        """The sentences, some of them changed. A sentence never becomes blank."""
        chosen = random.random(len(lines)) < self.share
        kinds = random.integers(len(self.changes), size=len(lines))
        changed = list(lines)
        for i in np.flatnonzero(chosen).tolist():
            changed[i] = self.changes[kinds[i]](lines[i], random) if lines[i].strip() else lines[i]
        return changed


def change_case(line: str, random: np.random.Generator) -> str:
    """Lower case, which is twice as frequent, or capitals."""
    return line.upper() if random.random() < 1 / 3 else line.lower()


def drop_punctuation(line: str, random: np.random.Generator) -> str:
    """Without the mark at the end, or without any."""
    changed = PUNCTUATION.sub("", line)
    if random.random() < 0.5:
        last = list(PUNCTUATION.finditer(line))[-1:]
        changed = line[: last[0].start()] + line[last[0].end() :] if last else line
    return changed if changed.strip() else line


def mistype(line: str, random: np.random.Generator) -> str:
    """One or more typing errors: two letters exchanged, one missing or one doubled."""
    words = list(WORD.finditer(line))
    if not words:
        return line
    count = max(1, round(sum(len(word[0]) for word in words) / LETTERS_PER_ERROR))
    places = sorted(random.choice(len(words), size=min(count, len(words)), replace=False), reverse=True)
    for place in places:  # from the end, so that earlier positions stay valid
        word = words[place]
        i = word.start() + int(random.integers(1, len(word[0]) - 1))  # the first letter is rarely wrong
        kind = random.integers(3)
        replacement = (line[i + 1] + line[i], "", line[i] * 2)[kind]
        line = line[:i] + replacement + line[i + (2 if kind == 0 else 1) :]
    return line


KINDS: dict[str, Callable[[str, np.random.Generator], str]] = {
    "case": change_case,
    "punctuation": drop_punctuation,
    "typing": mistype,
}
