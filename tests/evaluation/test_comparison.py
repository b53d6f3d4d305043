from __future__ import annotations

import random
import statistics

import pytest
from conftest import toy_pairs
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.ter import TER
from sacrebleu.significance import PairedTest

from transformer_cli.evaluation.comparison import Comparison, System, compare_systems, welch_p_value
from transformer_cli.schema.evaluation import MetricsConfig

CONFIG = MetricsConfig(resamples=50)
PAIRS = toy_pairs(40, seed=5)
SOURCES, REFERENCES = [s for s, _ in PAIRS], [t for _, t in PAIRS]


def damaged(lines: list[str], share: float, seed: int) -> list[str]:
    """The lines, of which some have lost their last words."""
    rng = random.Random(seed)
    return [" ".join(line.split()[:2]) if rng.random() < share else line for line in lines]


def compare(*systems: System, examples: int = 2) -> Comparison:
    return compare_systems(systems, SOURCES, [REFERENCES], {}, CONFIG, examples)


def test_p_values_are_those_of_sacrebleu() -> None:
    first, second = damaged(REFERENCES, 0.5, 1), damaged(REFERENCES, 0.3, 2)
    results = compare(System("a", [first]), System("b", [second])).results
    assert list(results) == ["BLEU", "chrF2", "chrF2++", "TER"]
    for kind, attribute, samples in (("bs", "p_bootstrap", 50), ("ar", "p_randomization", 0)):
        metrics = {"BLEU": BLEU(), "TER": TER()}
        _, expected = PairedTest([("a", first), ("b", second)], metrics, [REFERENCES], kind, samples)()
        for name in metrics:
            baseline, other = results[name]
            assert getattr(baseline, attribute) is None
            assert getattr(other, attribute) == expected[name][1].p_value
            assert [baseline.mean, other.mean] == [score.score for score in expected[name]]
    assert all(result.sd is None and result.p_seeds is None for row in results.values() for result in row)


def test_wins_losses_and_the_largest_differences_are_exact() -> None:
    first, second = list(REFERENCES), list(REFERENCES)
    for row in (3, 4):
        first[row] = "nichts"
    second[7], second[8], second[9] = "", REFERENCES[8][:-8], "quer"
    (duel,) = compare(System("a", [first]), System("b", [second])).duels
    assert (duel.system, duel.wins, duel.losses, duel.ties) == ("b", 2, 3, 35)
    assert {line.line for line in duel.best} == {4, 5} and len(duel.worst) == 2
    assert {line.line for line in duel.worst} == {8, 10} and duel.worst[0].gain <= duel.worst[1].gain < 0
    line = duel.best[0]
    assert line.source == SOURCES[line.line - 1] and line.translations == ("nichts", REFERENCES[line.line - 1])
    assert line.chrf[1] == pytest.approx(100)
    (equal,) = compare(System("a", [first]), System("b", [first])).duels
    assert (equal.wins, equal.losses, equal.ties, equal.best, equal.worst) == (0, 0, 40, [], [])


def test_several_seeds_give_mean_deviation_and_a_test() -> None:
    first = System("a", [damaged(REFERENCES, 0.5, seed) for seed in (1, 2, 3)])
    second = System("b", [damaged(REFERENCES, 0.2, seed) for seed in (4, 5)])
    compared = compare(first, second, System("c", [REFERENCES]))
    for results in compared.results.values():
        values = [[score.value for score in result.scores] for result in results]
        assert [result.mean for result in results] == [statistics.fmean(column) for column in values]
        assert results[0].sd == statistics.stdev(values[0]) and results[2].sd is None
        assert results[1].p_seeds == welch_p_value(values[0], values[1])
        assert results[2].p_seeds is None and results[1].p_bootstrap is None
    assert all(len(bucket.scores) == 3 for bucket in compared.lengths + compared.frequencies)
    assert compared.lengths[0].scores[2] == pytest.approx(100)


def test_welch_equals_the_formula() -> None:
    # t = -1.5 / sqrt(1/3 + 0.25/2), df by Welch-Satterthwaite = 2.9412; p from tables of Student's t.
    p = welch_p_value([1.0, 2.0, 3.0], [3.146447, 3.853553])
    assert p == pytest.approx(0.1145, abs=5e-4)
    assert welch_p_value([1.0, 1.0], [1.0, 1.0]) is None
