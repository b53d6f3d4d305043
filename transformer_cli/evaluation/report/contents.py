"""What a report shows: facts about runs, and about the translations of one test set."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from transformer_cli.evaluation.comparison import Duel, Result
from transformer_cli.evaluation.metrics import Score


@dataclass(frozen=True)
class Attention:
    """Attention of a sentence: `weights[t][s]`, 0 to 9, to source token s when target token t is generated."""

    source: list[str]
    target: list[str]
    weights: list[list[int]]


@dataclass(frozen=True)
class Example:
    """A line of the test set. `line`: from 1; `chrf` and `note`: of the translation."""

    line: int
    source: str
    reference: str
    translation: str
    chrf: float
    note: str = ""
    attention: Attention | None = None

    @property
    def diff(self) -> tuple[list[tuple[str, bool]], list[tuple[str, bool]]]:
        """Parts of the reference and of the translation; True = not in the other."""
        return word_diff(self.reference, self.translation)


@dataclass(frozen=True)
class FailureCount:
    """A type of failure in the translations of a run."""

    title: str
    definition: str
    count: int
    examples: list[Example]


@dataclass(frozen=True)
class RunReport:
    """A run and its translations.

    Attributes:
        name: unique among the runs of the report.
        summary, data, speed, versions, hashes: facts, as text.
        curves: the records of `metrics.jsonl`.
        filtered: reason -> number of pairs that were left out.
        failures: in the order of `failures.FAILURES`; the counts of all runs have the same order.
        config: the resolved configuration as YAML.
        commands: to repeat the report and the training.
    """

    name: str
    scores: list[Score]
    failures: list[FailureCount]
    worst: list[Example]
    best: list[Example]
    summary: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)
    filtered: Mapping[str, int] = field(default_factory=dict)
    speed: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    hashes: Mapping[str, str] = field(default_factory=dict)
    curves: Sequence[Mapping[str, Any]] = ()
    config: str = ""
    commands: Sequence[str] = ()


@dataclass(frozen=True)
class Report:
    """One or two runs on one test set.

    Attributes:
        counted: where the frequencies of words come from.
        lengths, frequencies: (bucket, lines or words, score of each run).
        results, duel: of the comparison of two runs.
    """

    runs: list[RunReport]
    test_set: str
    lines: int
    counted: str
    lengths: list[tuple[str, int, list[float]]]
    frequencies: list[tuple[str, int, list[float]]]
    results: Mapping[str, list[Result]] = field(default_factory=dict)
    duel: Duel | None = None


def word_diff(reference: str, translation: str) -> tuple[list[tuple[str, bool]], list[tuple[str, bool]]]:
    """Runs of words of both sides; True marks what the other side does not have in this place."""
    sides = reference.split(), translation.split()
    marked: tuple[list[tuple[str, bool]], list[tuple[str, bool]]] = ([], [])
    for operation, a, b, c, d in difflib.SequenceMatcher(None, *sides, autojunk=False).get_opcodes():
        for parts, words in ((marked[0], sides[0][a:b]), (marked[1], sides[1][c:d])):
            if words:
                parts.append((" ".join(words), operation != "equal"))
    return marked
