"""Scores by source length and by word frequency: where a system is good, and where it is not."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from sacrebleu.metrics.chrf import CHRF

from transformer_cli.data.filters.base import split_words
from transformer_cli.evaluation.metrics import strip_ends

LENGTHS = (1, 6, 11, 16, 21, 31, 51)
"""Shortest source of each bucket, in words."""
FREQUENCIES = (0, 1, 2, 5, 10, 100, 1000)
"""Lowest frequency of each bucket."""
WORD = re.compile(r"\w+(?:['’\-]\w+)*")


@dataclass(frozen=True)
class Bucket:
    """A part of the test set: its range, its lines or words, and the score of each system on it."""

    name: str
    size: int
    scores: list[float]


def sentence_chrf(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """chrF of each line, 0 to 100.

    Args:
        references: one or more sets of references.
    """
    metric = CHRF()
    rows = zip(strip_ends(hypotheses), *map(strip_ends, references), strict=True)
    return [float(metric.sentence_score(hypothesis, list(refs)).score) for hypothesis, *refs in rows]


def by_length(
    sources: Sequence[str], systems: Sequence[Sequence[str]], references: Sequence[Sequence[str]]
) -> list[Bucket]:
    """Corpus chrF of each system by the number of words of the source; blank sources are left out."""
    place = _buckets(LENGTHS)
    rows: dict[str, list[int]] = {name: [] for name in _names(LENGTHS)}
    for row, source in enumerate(sources):
        if words := len(split_words(source)):
            rows[place(words)].append(row)
    buckets = []
    for name, chosen in rows.items():
        if chosen:
            refs = [strip_ends([one[i] for i in chosen]) for one in references]
            metric = CHRF(references=refs)
            scores = [metric.corpus_score(strip_ends([one[i] for i in chosen]), None).score for one in systems]
            buckets.append(Bucket(name, len(chosen), list(map(float, scores))))
    return buckets


def by_frequency(
    counts: Mapping[str, int], systems: Sequence[Sequence[str]], references: Sequence[str]
) -> list[Bucket]:
    """F1 of the words of each system, 0 to 100, by their frequency.

    A word of a translation is right if the reference has it too, as often as the reference has it.

    Args:
        counts: the frequency of words, in the training text or in the references themselves.
        references: the first set of references.
    """
    place = _buckets(FREQUENCIES)
    expected = [_words(line) for line in references]
    sizes: Counter[str] = Counter()
    for words in expected:
        sizes.update(place(counts.get(word, 0)) for word in words.elements())
    found: list[Counter[str]] = []
    for system in systems:
        matched: Counter[str] = Counter()
        said: Counter[str] = Counter()
        for line, reference in zip(system, expected, strict=True):
            words = _words(line)
            said.update(place(counts.get(word, 0)) for word in words.elements())
            matched.update(place(counts.get(word, 0)) for word in (words & reference).elements())
        found.append(Counter({name: 200 * matched[name] / (sizes[name] + said[name]) for name in sizes}))
    return [
        Bucket(name, sizes[name], [float(f1[name]) for f1 in found]) for name in _names(FREQUENCIES) if sizes[name]
    ]


def count_words(lines: Iterable[str]) -> Counter[str]:
    """The frequency of each word of a text."""
    counts: Counter[str] = Counter()
    for line in lines:
        counts.update(_words(line))
    return counts


def _words(line: str) -> Counter[str]:
    return Counter(WORD.findall(line if line.isascii() else " ".join(split_words(line))))


def _names(starts: Sequence[int]) -> list[str]:
    names = [str(low) if high == low + 1 else f"{low}–{high - 1}" for low, high in pairwise(starts)]
    return [*names, f"{starts[-1]}+"]


def _buckets(starts: Sequence[int]) -> Callable[[int], str]:
    """A function from a number to the name of its bucket."""
    names = _names(starts)
    return lambda number: names[sum(number >= start for start in starts) - 1]
