from __future__ import annotations

import pytest
from sacrebleu.metrics.chrf import CHRF

from transformer_cli.evaluation.breakdown import by_frequency, by_length, count_words, sentence_chrf


def test_lengths_are_those_of_the_source() -> None:
    sources = ["a", "a b c d e", "a b c d e f", "", "我们去公园玩吧"]
    references = [["x y", "x y z", "u v w", "nothing", "und so"]]
    buckets = by_length(sources, [references[0], ["x y", "q", "u v w", "", ""]], references)
    assert [(b.name, b.size) for b in buckets] == [("1–5", 2), ("6–10", 2)]
    assert [b.scores[0] for b in buckets] == [pytest.approx(100), pytest.approx(100)]
    expected = CHRF().corpus_score(["x y", "q"], [["x y", "x y z"]]).score
    assert buckets[0].scores[1] == expected


def test_f1_of_words_by_frequency() -> None:
    counts = count_words(["der Hund der Hund der", "die Katze"])
    assert counts == {"der": 3, "Hund": 2, "die": 1, "Katze": 1}
    references = ["der Hund, die Katze.", "ein Wort"]
    buckets = {b.name: b for b in by_frequency(counts, [["der der Hund die Maus", "ein"], references], references)}
    assert {name: b.size for name, b in buckets.items()} == {"0": 2, "1": 2, "2–4": 2}
    # Frequency 0: ein of "ein Wort" is right, Maus is wrong. 2-4: der, Hund right, one der too many.
    assert buckets["0"].scores[0] == pytest.approx(100 * 2 * 1 / (2 + 2))
    assert buckets["1"].scores[0] == pytest.approx(100 * 2 * 1 / (2 + 1))
    assert buckets["2–4"].scores[0] == pytest.approx(100 * 2 * 2 / (2 + 3))
    assert [b.scores[1] for b in buckets.values()] == [100, 100, 100]


def test_words_of_scripts_without_spaces_are_characters() -> None:
    assert count_words(["我们, 我"]) == {"我": 2, "们": 1}
    assert count_words(['rot-weiß, don\'t "Ja"!']) == {"rot-weiß": 1, "don't": 1, "Ja": 1}


def test_sentence_chrf_uses_the_better_reference() -> None:
    assert sentence_chrf(["ab c", "x"], [["ab c ", "y"], ["zz", "x"]]) == [100, 100]
    assert sentence_chrf([""], [["a"]]) == [0]
