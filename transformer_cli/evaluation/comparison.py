"""Comparison of systems on one test set, with the significance tests of sacreBLEU.

Several outputs of a system are those of several seeds of its training: a test over seeds says more about the
method than one over sentences.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sacrebleu.significance import PairedTest

from transformer_cli.errors import ConfigError
from transformer_cli.evaluation.breakdown import Bucket, by_frequency, by_length, sentence_chrf
from transformer_cli.evaluation.metrics import Score, build_metrics, corpus_scores, strip_ends
from transformer_cli.schema.evaluation import MetricsConfig

PValues = tuple[float | None, float | None]
"""Of paired bootstrap and approximate randomisation."""
NO_TEST: PValues = (None, None)
TIE = 1e-9
"""Difference of sentence chrF up to which two translations are equally good."""


@dataclass(frozen=True)
class System:
    """A system with its outputs, one for each seed; all translate the same lines."""

    name: str
    outputs: list[list[str]]


@dataclass(frozen=True)
class Result:
    """The score of a system.

    Attributes:
        scores: of each output.
        mean, sd: over the outputs; sd is None for a single one.
        p_bootstrap, p_randomization: p-values of the paired tests against the first system, for single outputs
            that are not all equal.
        p_seeds: p-value of Welch's t-test against the first system, for two or more outputs on both sides.
    """

    system: str
    scores: list[Score]
    mean: float
    sd: float | None
    p_bootstrap: float | None = None
    p_randomization: float | None = None
    p_seeds: float | None = None


@dataclass(frozen=True)
class Difference:
    """A line on which two systems differ: `chrf` of the first system and of the other."""

    line: int
    source: str
    reference: str
    translations: tuple[str, str]
    chrf: tuple[float, float]

    @property
    def gain(self) -> float:
        """By how much the other system is better."""
        return self.chrf[1] - self.chrf[0]


@dataclass(frozen=True)
class Duel:
    """A system compared with the first one, by sentence chrF (the mean over its outputs).

    Attributes:
        wins, losses, ties: lines on which the system is better, worse, equal.
        best, worst: the lines with the largest differences.
    """

    system: str
    wins: int
    losses: int
    ties: int
    best: list[Difference]
    worst: list[Difference]


@dataclass(frozen=True)
class Comparison:
    """`results`: name of a metric -> a result for each system. The buckets have a score for each system."""

    results: dict[str, list[Result]]
    duels: list[Duel]
    lengths: list[Bucket]
    frequencies: list[Bucket]


def compare_systems(
    systems: Sequence[System],
    sources: Sequence[str],
    references: Sequence[Sequence[str]],
    counts: Mapping[str, int],
    config: MetricsConfig,
    examples: int,
) -> Comparison:
    """Compare systems with the first one.

    Args:
        references: one or more sets of references.
        counts: word frequencies; see `by_frequency`.
        examples: number of lines with the largest differences.

    Raises:
        ConfigError: several outputs on both sides, and scipy is not installed.
    """
    scores = [[corpus_scores(output, *references, config=config) for output in s.outputs] for s in systems]
    p_values = _paired_tests(systems, references, config) if all(len(s.outputs) == 1 for s in systems) else {}
    results: dict[str, list[Result]] = {}
    for place, score in enumerate(scores[0][0]):
        columns = [[by_metric[place] for by_metric in of_system] for of_system in scores]
        results[score.name] = [
            _result(
                system.name,
                column,
                columns[0] if number else None,
                p_values.get((score.name, number), NO_TEST),
            )
            for number, (system, column) in enumerate(zip(systems, columns, strict=True))
        ]
    chrf = [_mean_rows([sentence_chrf(output, references) for output in s.outputs]) for s in systems]
    duels = [
        _duel((systems[0], chrf[0]), (system, values), sources, references[0], examples)
        for system, values in zip(systems[1:], chrf[1:], strict=True)
    ]
    outputs = [output for s in systems for output in s.outputs]
    lengths, frequencies = by_length(sources, outputs, references), by_frequency(counts, outputs, references[0])
    return Comparison(results, duels, _per_system(lengths, systems), _per_system(frequencies, systems))


def _result(name: str, scores: list[Score], baseline: list[Score] | None, p: PValues) -> Result:
    values = [score.value for score in scores]
    sd = statistics.stdev(values) if len(values) > 1 else None
    p_seeds = None
    if baseline is not None and min(len(baseline), len(scores)) > 1:
        p_seeds = welch_p_value([score.value for score in baseline], values)
    return Result(name, scores, statistics.fmean(values), sd, *p, p_seeds)


def welch_p_value(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Two-sided p-value of Welch's t-test; None if all values on each side are equal.

    Raises:
        ConfigError: scipy is not installed.
    """
    try:
        from scipy.stats import ttest_ind
    except ImportError:
        raise ConfigError(
            "a test over seeds needs the package scipy", hint="pip install 'transformer-cli[compare]'"
        ) from None
    if len(set(first)) == 1 and len(set(second)) == 1:
        return None
    return float(ttest_ind(list(first), list(second), equal_var=False).pvalue)


def _paired_tests(
    systems: Sequence[System], references: Sequence[Sequence[str]], config: MetricsConfig
) -> dict[tuple[str, int], PValues]:
    """(metric, number of the system) -> p-values of paired bootstrap and approximate randomisation."""
    named: list[tuple[str, Sequence[str]]] = [
        (str(number), strip_ends(system.outputs[0])) for number, system in enumerate(systems)
    ]
    found: list[dict[str, Any]] = []
    for kind, samples in (("bs", config.resamples), ("ar", 0)):
        metrics = {str(n): metric for n, metric in enumerate(build_metrics(references, config))}
        _, table = PairedTest(named, metrics, None, test_type=kind, n_samples=samples)()
        found.append(table)
    bootstrap, randomization = found
    return {
        (metric, number): (bootstrap[metric][number].p_value, randomization[metric][number].p_value)
        for metric in bootstrap
        if metric != "System"
        for number in range(1, len(systems))
        if named[number][1] != named[0][1]  # of equal outputs, the tests find a tiny p-value
    }


def _duel(
    first: tuple[System, list[float]],
    other: tuple[System, list[float]],
    sources: Sequence[str],
    references: Sequence[str],
    examples: int,
) -> Duel:
    gains = [b - a for a, b in zip(first[1], other[1], strict=True)]
    order = sorted(range(len(gains)), key=lambda i: (-gains[i], i))

    def difference(row: int) -> Difference:
        texts = first[0].outputs[0][row], other[0].outputs[0][row]
        return Difference(row + 1, sources[row], references[row], texts, (first[1][row], other[1][row]))

    wins, losses = sum(gain > TIE for gain in gains), sum(gain < -TIE for gain in gains)
    best = [difference(row) for row in order[:examples] if gains[row] > TIE]
    worst = [difference(row) for row in order[::-1][:examples] if gains[row] < -TIE]
    return Duel(other[0].name, wins, losses, len(gains) - wins - losses, best, worst)


def _mean_rows(columns: list[list[float]]) -> list[float]:
    return [statistics.fmean(row) for row in zip(*columns, strict=True)]


def _per_system(buckets: Sequence[Bucket], systems: Sequence[System]) -> list[Bucket]:
    """Scores of all outputs -> their mean for each system."""
    merged = []
    for bucket in buckets:
        scores = iter(bucket.scores)
        means = [statistics.fmean([next(scores) for _ in system.outputs]) for system in systems]
        merged.append(Bucket(bucket.name, bucket.size, means))
    return merged
