"""chrF equals that of sacreBLEU; the sample of minimum risk matches computation by hand."""

from __future__ import annotations

import random

from sacrebleu.metrics import CHRF

from transformer_cli.decoding.search.mbr import chrf_matrix, select_minimum_risk


def test_chrf_equals_sacrebleu() -> None:
    rng = random.Random(1)
    words = ["the", "a", "cat", "dog", "häuser", "ist", "war", "sehr", "ß", "x", "yy"]
    texts = [" ".join(rng.choices(words, k=rng.randint(1, 9))) for _ in range(25)] + ["x", "xy z"]
    metric = CHRF()
    matrix = chrf_matrix(texts)
    for i, hypothesis in enumerate(texts):
        for j, reference in enumerate(texts):
            expected = metric.sentence_score(hypothesis, [reference]).score / 100
            assert abs(matrix[i, j] - expected) < 1e-9, (hypothesis, reference)


def test_the_sample_most_similar_to_the_others_is_selected() -> None:
    texts = ["ein Hund läuft", "ein Hund rennt", "der Hund läuft", "zwei Katzen schlafen"]
    assert select_minimum_risk(texts) == 0
    assert select_minimum_risk(["a", "b", "b", "c"]) == 1
    assert select_minimum_risk(["only"]) == 0
    assert select_minimum_risk(["", "", "x"]) == 0
