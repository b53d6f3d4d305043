"""A clean corpus, and faults to plant into it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from conftest import ROOT

Line = tuple[str, str]


def sample_pairs(count: int) -> list[Line]:
    """The first pairs of the sample corpus."""
    sides = [(ROOT / f"data/sample/train.{lang}").read_text().split("\n")[:count] for lang in ("en", "de")]
    return list(zip(*sides, strict=True))


@dataclass(frozen=True)
class Fault:
    """A fault of single pairs: what `check` calls it, and how a pair gets it."""

    kind: str
    spoil: Callable[[str, str], Line]
    cleaned: bool = True
    """Whether `clean` removes such pairs by default."""


def mojibake(text: str) -> str:
    """The text with a word whose UTF-8 was read as Windows-1252."""
    return f"{text} {'Größe für Bäume'.encode().decode('cp1252')}"


FRENCH = "Les enfants jouent dans le jardin pendant que leur mère prépare le déjeuner."
GREEK = "Τα παιδιά παίζουν στον κήπο κάθε απόγευμα."
FAULTS = {
    "quoted cells": Fault(
        "quoted cells", lambda s, t: (f'"{s} ""yes"", really"', f'"{t} ""ja"", wirklich"'), cleaned=False
    ),
    "HTML entities": Fault(
        "HTML entities", lambda s, t: (f"{s} Tea &amp; cake.", f"{t} Tee &amp; Kuchen."), cleaned=False
    ),
    "decomposed characters": Fault("decomposed characters", lambda s, t: (s, f"{t} Scho\u0308n."), cleaned=False),
    "invisible characters": Fault(
        "invisible characters", lambda s, t: (s, t.replace("e", "e\u00ad", 1)), cleaned=False
    ),
    "a line of 11,819 words": Fault("too many words", lambda s, t: ("word " * 11_819, t)),
    "swapped columns": Fault("sides swapped", lambda s, t: (t, s)),
    "mojibake": Fault("damaged text", lambda s, t: (s, mojibake(t))),
    "control characters": Fault("damaged text", lambda s, t: (s, f"{t[:4]}\x02{t[4:]}")),
    "replacement characters": Fault("damaged text", lambda s, t: (s, f"{t[:4]}\ufffd{t[4:]}")),
    "copied source": Fault("source equals target", lambda s, t: (f"{s} {s}", f"{s} {s}")),
    "untranslated": Fault("untranslated", lambda s, t: (s, f"{s[:-1]} today.")),
    "wrong language": Fault("wrong language", lambda s, t: (s, FRENCH)),
    "wrong script": Fault("wrong script", lambda s, t: (s, GREEK)),
    "number mismatch": Fault("number mismatch", lambda s, t: (f"{s} It was 1987.", f"{t} Es war 1978.")),
    "URL mismatch": Fault("URL mismatch", lambda s, t: (f"{s} See www.example.org.", t)),
    "placeholder mismatch": Fault("placeholder mismatch", lambda s, t: (f"{s} Hello {{name}}.", f"{t} Hallo.")),
    "tag mismatch": Fault("tag mismatch", lambda s, t: (f"<b>{s}</b>", t)),
    "truncated target": Fault(
        "truncated", lambda s, t: (f"{s} {s} {s}", f"{t} {t} {t}"[: len(t)].rstrip(". ")[:-1])
    ),
    "repetition": Fault("repetition", lambda s, t: (f"{s} {s} {s}", f"{t} {t} {t}{' ja' * 40}")),
    "lengths": Fault("lengths differ", lambda s, t: (f"{s} {s} {s} {s}", f"{t[:8]}.")),
    "blank line": Fault("blank on one side", lambda s, t: (s, " ")),
    "blank pair": Fault("blank on both sides", lambda s, t: ("", "")),
}
"""Faults of single pairs, by name."""


def plant(pairs: list[Line], first: int = 100, step: int = 20) -> tuple[list[Line], dict[str, int]]:
    """Plant each fault, and a repeated pair, a near-duplicate, a pair of strangers and a header row.

    Returns:
        the pairs; and the line, from 1, of each fault.
    """
    spoiled, lines = list(pairs), {}
    long = [i for i, (s, _) in enumerate(pairs) if i >= first and 40 < len(s) < 80]
    for name, fault in FAULTS.items():
        row = long.pop(0)
        spoiled[row] = fault.spoil(*pairs[row])
        lines[name] = row + 1
    row = long.pop(0)
    spoiled[row], lines["repeated pairs"] = spoiled[2], row + 1
    row = long.pop(0)
    spoiled[row] = spoiled[3][0].upper(), f"{spoiled[3][1]}!"
    lines["near-duplicates"] = row + 1
    for number in range(3):
        row = long.pop(0)
        spoiled[row] = pairs[row][0], pairs[len(pairs) // 2 + 7 * number + row][1]
        lines[f"misaligned {number}"] = row + 1
    spoiled[0] = "English", "Deutsch"
    lines["header row"] = 1
    return spoiled, lines
