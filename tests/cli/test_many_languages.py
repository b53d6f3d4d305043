"""One model of several target languages, through the commands: training, resuming, use, and mistakes."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY_RUN, cli, toy_pairs, tree, write_pairs

from transformer_cli.api import Translator
from transformer_cli.artifacts.loading import load_model
from transformer_cli.data.store import load_corpus
from transformer_cli.runtime import select_device

SETTINGS = [word for setting in TINY_RUN for word in ("--set", setting)]
BUDGET = ["--set", "training.save_every=4", "--set", "training.validate_every=4", "--device", "cpu"]


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """en-de as two text files, and en-fr, whose words are those of English in reverse, as a table."""
    directory = tmp_path_factory.mktemp("corpora")
    write_pairs(directory, "train", toy_pairs(200, seed=1))
    rows = [f"{' '.join(reversed(s.split()))}\t{s}\n" for s, _ in toy_pairs(80, seed=7)]
    (directory / "other.tsv").write_text("fr\ten\n" + "".join(rows), encoding="utf-8")
    return directory


def train(corpora: Path, run: Path, steps: int, *more: object) -> str:
    directed = ["--corpus", f"en+de={corpora}/train.en,{corpora}/train.de"]
    directed += ["--corpus", f"en-fr={corpora}/other.tsv"]
    done = cli("train", *directed, "--run", run, *SETTINGS, *BUDGET, "--max-steps", steps, *more)
    assert done.returncode == 0, done.stderr.decode()
    return done.stderr.decode()


@pytest.fixture(scope="module")
def many(corpora: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("many") / "run"
    messages = train(corpora, run, 8)
    assert "held out of the training text by seed 1, en-de: 10, de-en: 10, en-fr: 4" in messages
    assert re.search(r"en-de train.en 190 \(4.%, has 190\), de-en train.de 190 .*, en-fr other.tsv \d\d", messages)
    assert "step 8: mean: loss" in messages and "step 8: en-fr: loss" in messages
    return run


def test_sources_have_the_tag_of_their_direction_and_targets_none(many: Path) -> None:
    loaded = load_model(many, select_device("cpu"))
    tags = loaded.vocabularies.src.tags
    assert tags == {"de": 4, "en": 5, "fr": 6} and loaded.model.num_tags == 3
    corpus = load_corpus(many / "data", "train", None)
    assert corpus is not None
    first = np.array([corpus.src[i][0] for i in range(len(corpus))])
    assert np.bincount(first, minlength=7)[4:].tolist() == [190, 190, len(corpus) - 380]
    rest = [corpus.src[i][1:] for i in range(len(corpus))] + [corpus.tgt[i] for i in range(len(corpus))]
    assert not np.isin(np.concatenate(rest), list(tags.values())).any()
    decode = loaded.vocabularies.src.decode
    held_out = load_corpus(many / "data", "valid", None)
    assert held_out is not None
    pairs = {(decode([c.src[i]])[0], decode([c.tgt[i]])[0]) for c in [corpus] for i in range(len(c))}
    for i in range(len(held_out)):  # not in the training text, in either direction
        pair = decode([held_out.src[i]])[0], decode([held_out.tgt[i]])[0]
        if held_out.src[i][0] != tags["fr"]:
            assert pair in {p[::-1] for p in pairs} or pair[::-1] not in pairs


def test_validation_is_logged_for_each_direction_and_the_mean_decides(many: Path) -> None:
    records = [json.loads(line) for line in (many / "metrics.jsonl").read_text().splitlines()]
    record = [r for r in records if r["kind"] == "validation"][-1]
    assert list(record["directions"]) == ["en-de", "de-en", "en-fr"]
    for name in ("loss", "bleu", "chrf"):
        mean = sum(scores[name] for scores in record["directions"].values()) / 3
        assert record[name] == pytest.approx(mean)


def test_an_interrupted_run_gives_the_same_weights(corpora: Path, many: Path, tmp_path: Path) -> None:
    more = ["--set", "data.mixing.temperature=5"]
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    train(corpora, whole, 8, *more)
    train(corpora, resumed, 4, *more, "--set", "optim.schedule=constant")
    shutil.rmtree(resumed)
    for steps, run in ((8, whole), (3, resumed), (8, resumed)):
        if run == whole:
            shutil.rmtree(whole)
        messages = train(corpora, run, steps, *more, "--set", "optim.schedule=constant")
    assert "resuming from" in messages and "en-fr other.tsv" in messages
    names = [tree(run / "checkpoints" / "step_000000008")["model.safetensors"] for run in (whole, resumed)]
    assert names[0] == names[1]


def test_translate_evaluate_score_and_inspect_need_a_known_language(
    many: Path, corpora: Path, tmp_path: Path
) -> None:
    text, ref = corpora / "train.en", corpora / "train.de"
    commands: list[list[object]] = [
        ["translate", many, text],
        ["evaluate", many, "--src", text, "--ref", ref, "-o", tmp_path / "out.de"],
        ["score", many, "--src", text, "--tgt", ref],
        ["inspect", many, "The dog.", "-o", tmp_path / "a.png"],
    ]
    for command in commands:
        for to in ([], ["--to", "cs"]):
            done = cli(*command, *to)
            assert done.returncode == 2 and b"target languages: de, en, fr" in done.stderr, done.stderr.decode()
        done = cli(*command, "--to", "de")
        assert done.returncode == 0, done.stderr.decode()
    assert cli("export", many, tmp_path / "b.zip", "--to", "bundle").returncode == 0
    translated = [cli("translate", model, text, "--to", "fr").stdout for model in (many, tmp_path / "b.zip")]
    assert translated[0] == translated[1] != cli("translate", many, text, "--to", "de").stdout
    assert str(corpora).encode() not in (tmp_path / "b.zip").read_bytes()
    texts = [t.text for t in Translator.load(many).translate(text.read_text().split("\n")[:-1], to="fr")]
    assert "".join(line + "\n" for line in texts).encode() == translated[0]


def test_what_is_not_supported_is_refused_by_name(many: Path, corpora: Path, toy: Path, tmp_path: Path) -> None:
    train_with = ["train", "--run", tmp_path / "run", *SETTINGS, "--max-steps", 1]
    one = f"en-de={toy}/train.en,{toy}/train.de"
    cases: list[tuple[int, str, list[object]]] = [
        (2, "several target languages", ["serve", many]),
        (2, "several target languages", ["report", many]),
        (2, "several target languages", ["translate", many, "--to", "de", "--engine", "ctranslate2"]),
        (2, "several target languages", ["translate", many, "--to", "de", "--confidence"]),
        (2, "is not LANGUAGE-LANGUAGE=FILE,FILE", [*train_with, "--corpus", "en=a,b"]),
        (2, "are the same language", [*train_with, "--corpus", "en-en=a,b"]),
        (2, "cannot be combined with --src", [*train_with, "--corpus", one, "--src", toy / "train.en"]),
        (2, "--valid-corpus", [*train_with, "--corpus", one, "--valid-src", toy / "valid.en"]),
        (2, "without a training corpus", [*train_with, "--corpus", one, "--valid-corpus", "en-fr=a,b"]),
        (3, "needs these languages", [*train_with, "--corpus", f"en-cs={corpora}/other.tsv"]),
        (3, "no such file", [*train_with, "--corpus", "en-cs=missing.tsv"]),
    ]
    for code, words, arguments in cases:
        done = cli(*arguments, stdin=b"A cat.\n")
        assert done.returncode == code and words in done.stderr.decode(), (arguments, done.stderr.decode())
        assert b"Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_corpus_of_one_direction_needs_no_tag_and_no_option(toy: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    valid = ["--valid-corpus", f"en-de={toy}/valid.en,{toy}/valid.de"]
    more = ["--run", run, *SETTINGS, "--max-steps", 1]
    done = cli("train", "--corpus", f"en-de={toy}/train.en,{toy}/train.de", *valid, *more)
    assert done.returncode == 0, done.stderr.decode()
    assert load_model(run, select_device("cpu")).vocabularies.src.tags == {}
    outputs = [cli("translate", run, *to, stdin=b"The cat sees.\n") for to in ([], ["--to", "de"])]
    assert outputs[0].returncode == 0 and outputs[0].stdout == outputs[1].stdout
    done = cli("translate", run, "--to", "fr", stdin=b"A cat.\n")
    assert done.returncode == 2 and b"target languages: de" in done.stderr


def test_fine_tuning_on_one_direction_keeps_the_vocabulary(many: Path, corpora: Path, tmp_path: Path) -> None:
    run, more = tmp_path / "tuned", ["--from", many, "--max-steps", 2]
    done = cli("train", "--corpus", f"en-fr={corpora}/other.tsv", *more, "--run", run)
    assert done.returncode == 0, done.stderr.decode()
    assert (run / "tokenizer.model").read_bytes() == (many / "tokenizer.model").read_bytes()
    assert cli("translate", run, stdin=b"The cat.\n").returncode == 0  # fr, its only direction
    assert cli("translate", run, "--to", "de", stdin=b"The cat.\n").returncode == 0
    done = cli(
        "train", "--corpus", f"en-cs={corpora}/train.en,{corpora}/train.de", *more, "--run", tmp_path / "cs"
    )
    assert done.returncode == 2 and b"'cs'" in done.stderr, done.stderr.decode()
