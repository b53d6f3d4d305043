from __future__ import annotations

import json
from pathlib import Path

import pytest

from transformer_cli.evaluation.metrics import corpus_scores, quick_scores
from transformer_cli.evaluation.plots import draw_curves
from transformer_cli.schema.evaluation import MetricsConfig

REFERENCES = ["Zwei junge Männer sind im Freien.", "Ein Hund läuft über die Wiese."]


def test_scores_have_signatures() -> None:
    scores = {s.name: s for s in corpus_scores(REFERENCES, REFERENCES)}
    assert [round(scores[n].value, 6) for n in ("BLEU", "chrF2", "chrF2++", "TER")] == [100.0, 100.0, 100.0, 0.0]
    assert "tok:13a" in scores["BLEU"].signature and "case:mixed" in scores["BLEU"].signature
    assert all("version:" in s.signature for s in scores.values())


def test_bleu_is_case_sensitive_and_equals_the_formula() -> None:
    hypotheses = ["Zwei junge Frauen sind im Freien.", "ein Hund läuft über die Wiese."]
    bleu, chrf = quick_scores(hypotheses, REFERENCES)
    # 14 tokens, including full stops: precisions 12/14, 9/12, 6/10, 4/8; no brevity penalty.
    expected = 100 * (12 / 14 * 9 / 12 * 6 / 10 * 4 / 8) ** 0.25
    assert abs(bleu - expected) < 1e-6
    assert 0 < chrf < 100


@pytest.mark.parametrize(
    ("reference", "tokenizer"),
    [
        ("Zwei Männer stehen im Freien.", "13a"),
        ("나는 너를 사랑해", "13a"),
        ("这是一个测试。", "zh"),
        ("他们のand他说这是一个很好的测试今天天气很好我们去公园玩", "zh"),
        ("これは猫です。", "char"),
        ("ฉันรักคุณ", "char"),
        ("", "13a"),
    ],
)
def test_bleu_tokenizer_follows_the_script(reference: str, tokenizer: str) -> None:
    bleu = corpus_scores([reference], [reference])[0]
    assert f"tok:{tokenizer}" in bleu.signature
    intl = MetricsConfig(tokenize="intl")
    assert "tok:intl" in corpus_scores([reference], [reference], config=intl)[0].signature
    ter = corpus_scores([reference], [reference], config=intl)[3]
    assert ("asian:yes" in ter.signature) == (tokenizer != "13a")


def test_several_sets_of_references_give_one_score() -> None:
    hypotheses = ["Zwei Frauen sind draußen.", REFERENCES[1]]
    bleu = corpus_scores(hypotheses, REFERENCES, hypotheses)[0]
    assert abs(bleu.value - 100) < 1e-6 and "nrefs:2" in bleu.signature


def test_curves_are_drawn_with_and_without_data(tmp_path: Path) -> None:
    metrics, output = tmp_path / "m.jsonl", tmp_path / "c.png"
    metrics.write_text("")
    draw_curves(metrics, output)
    lines = [
        {"kind": "train", "step": 5, "loss": 2.0, "lr": 0.1},
        {"kind": "validation", "step": 10, "loss": 1.5, "bleu": 20.0, "chrf": 40.0},
    ]
    metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    draw_curves(metrics, output)
    assert output.read_bytes().startswith(b"\x89PNG")


def test_intervals_are_printed_and_can_be_turned_off() -> None:
    hypotheses = ["Zwei Frauen sind draußen.", REFERENCES[1]]
    bleu = corpus_scores(hypotheses, REFERENCES, config=MetricsConfig(resamples=50))[0]
    assert bleu.mean is not None and f"(μ = {bleu.mean:.2f} ± {bleu.half_width:.2f})  nrefs:1|bs:50|" in str(bleu)
    without = corpus_scores(hypotheses, REFERENCES, config=MetricsConfig(resamples=0))[0]
    assert without.value == bleu.value and str(without) == f"BLEU {bleu.value:.2f}  {without.signature}"
