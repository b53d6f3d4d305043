"""Corpora in every form, through the commands."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import pytest
from conftest import TINY_RUN, cli, toy_pairs, write_pairs
from planted import sample_pairs


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus as a spreadsheet exports it, a compressed test set, and validation data as JSON lines."""
    directory = tmp_path_factory.mktemp("tables")
    with (directory / "corpus.csv").open("w", newline="") as stream:
        rows = csv.writer(stream, delimiter=";")
        rows.writerows(
            [("Nr", "English", "German"), *((i, *pair) for i, pair in enumerate(toy_pairs(300, seed=1)))]
        )
    lines = "".join(f"{s}\t{t}\n" for s, t in toy_pairs(20, seed=3))
    (directory / "test.tsv.gz").write_bytes(gzip.compress(lines.encode("utf-16-le")))
    records = "".join(f'{{"de": "{t}", "en": "{s}"}}\n' for s, t in toy_pairs(20, seed=2))
    (directory / "valid.jsonl").write_text(records)
    return directory


def test_train_evaluate_and_score_a_spreadsheet(tables: Path, tmp_path: Path) -> None:
    settings = [word for setting in TINY_RUN for word in ("--set", setting)]
    run = tmp_path / "run"
    data = ["--data", tables / "corpus.csv", "--columns", "en,de", "--valid-data", tables / "valid.jsonl"]
    done = cli("train", *data, "--run", run, *settings, "--max-steps", 2)
    assert done.returncode == 0, done.stderr.decode()
    assert b"corpus.csv: CSV with ';', columns 2 and 3 ('English', 'German'), header skipped" in done.stderr
    assert b"valid.jsonl: JSON lines, fields 'en' and 'de'" in done.stderr and b"300 pairs" in done.stderr
    for command in ("evaluate", "score"):
        done = cli(command, run, "--data", tables / "test.tsv.gz")
        assert done.returncode == 0, done.stderr.decode()
        assert b"compressed with gzip, UTF-16 (little endian) without a byte-order mark" in done.stderr
    assert (run / "evaluation/test.tsv.gz.beam5.txt").read_text().count("\n") == 20


def test_a_tokenizer_of_a_spreadsheet(tables: Path, toy: Path, tmp_path: Path) -> None:
    command = ["tokenizer", "train", "--data", tables / "corpus.csv", "--columns", "2,3", "--vocab-size", 300]
    done = cli(*command, "--output", tmp_path / "a.model")
    assert done.returncode == 0 and b"from 600 lines" in done.stderr, done.stderr.decode()
    files = ["--input", toy / "train.en", toy / "train.de"]
    assert cli("tokenizer", "train", *files, "--vocab-size", 300, "--output", tmp_path / "b.model").returncode == 0
    assert (tmp_path / "a.model").stat().st_size == (tmp_path / "b.model").stat().st_size


def test_mistakes_are_named_with_their_remedy(tables: Path, toy_run: Path, toy: Path, tmp_path: Path) -> None:
    (tmp_path / "book.xlsx").write_bytes(b"PK\x03\x04\x14\x00[Content_Types].xml" + bytes(50))
    (tmp_path / "bad.csv").write_text('en,de\na,b\n"c,d\ne,f\n')
    table, test = tables / "corpus.csv", toy / "test.en"
    cases: list[tuple[int, str, list[object]]] = [
        (3, "export it as CSV", ["check", "--data", tmp_path / "book.xlsx"]),
        (3, "column 1 ('Nr') has only numbers", ["train", "--data", table, "--run", tmp_path / "run"]),
        (3, "bad.csv: line 3: a cell", ["evaluate", toy_run, "--data", tmp_path / "bad.csv"]),
        (3, "--data", ["train", "--src", table, "--tgt", table, "--run", tmp_path / "run"]),
        (3, "form is not recognised", ["score", toy_run, "--data", test]),
        (2, "no corpus is given", ["train", "--run", tmp_path / "run"]),
        (2, "no corpus is given", ["score", toy_run]),
        (2, "no corpus is given", ["tokenizer", "train", "--output", tmp_path / "a.model"]),
        (2, "must be given together", ["train", "--src", test, "--run", tmp_path / "run"]),
        (2, "unknown form", ["score", toy_run, "--data", table, "--data-format", "xlsx"]),
        (2, "two columns", ["score", toy_run, "--data", table, "--columns", "en"]),
        (2, "excludes --src", ["evaluate", toy_run, "--data", table, "--src", test]),
        (5, "cannot be written", ["translate", toy_run, test, "-o", tmp_path]),
    ]
    for code, words, arguments in cases:
        done = cli(*arguments)
        assert done.returncode == code and words in done.stderr.decode(), (arguments, done.stderr.decode())
        assert b"Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


def test_train_excludes_what_clean_removes_and_prints_the_counts(toy: Path, tmp_path: Path) -> None:
    pairs = toy_pairs(300, seed=1)
    pairs[0] = "English", "German"
    pairs[7] = pairs[7][1], pairs[7][0]
    pairs[20] = "The cat sees {name} today and now.", "Heute sieht die Katze."
    pairs[30] = pairs[30][0], f"{pairs[30][1]}\x02"
    pairs[31] = pairs[30][0], pairs[30][0] + " now"
    src, tgt = write_pairs(tmp_path, "noisy", pairs)
    settings = [word for setting in TINY_RUN for word in ("--set", setting)]
    valid = ["--valid-src", toy / "valid.en", "--valid-tgt", toy / "valid.de"]
    command = ["train", "--src", src, "--tgt", tgt, "--run", tmp_path / "run", *settings, "--max-steps", 1]
    done = cli(*command, *valid)
    assert done.returncode == 0, done.stderr.decode()
    (line,) = [line for line in done.stderr.decode().split("\n") if line.startswith("train: ")]
    assert line.startswith("train: 295 of 300 pairs used; excluded: ")
    for reason in ("header row", "sides swapped", "placeholder mismatch", "damaged text", "untranslated"):
        assert f"1 {reason}" in line
    done = cli(*command, *valid, "--max-steps", 2)
    assert done.returncode == 0 and b"resuming" in done.stderr and line in done.stderr.decode()
    off = [word for key in ("swapped", "damaged") for word in ("--set", f"data.filters.{key}=false")]
    command[command.index(tmp_path / "run")] = tmp_path / "other"
    done = cli(
        *command, *valid, *off, "--set", "data.filters.duplicates=true", "--set", "data.filters.overlap=true"
    )
    line = next(line for line in done.stderr.decode().split("\n") if line.startswith("train: "))
    assert "repeated pairs" in line and "also in the test set" in line and "sides swapped" not in line


def test_held_out_pairs_pass_the_filters_and_text_is_normalised(tmp_path: Path) -> None:
    pairs = [(s, f"{t[:-1]} &amp; so.") for s, t in sample_pairs(400)]
    for i in range(0, 400, 4):
        pairs[i] = pairs[i][0], f"{pairs[i][1]} \x02"
    src, tgt = write_pairs(tmp_path, "noisy", pairs)
    settings = [word for setting in TINY_RUN for word in ("--set", setting)]
    command = ["train", "--src", src, "--tgt", tgt, "--run", tmp_path / "run", *settings, "--max-steps", 1]
    done = cli(*command, "--set", "data.normalization.entities=true", "--set", "training.validate_every=1")
    assert done.returncode == 0, done.stderr.decode()
    messages = done.stderr.decode()
    assert "of the held-out pairs excluded by the filters" in messages and "damaged text" in messages
    references = [line for line in messages.split("\n") if line.startswith("    reference")]
    assert references and all("& so." in line and "\x02" not in line for line in references)


def test_shares_of_two_corpora_are_reported_and_exact_on_resume(toy: Path, tmp_path: Path) -> None:
    small_src, small_tgt = write_pairs(tmp_path, "small", toy_pairs(40, seed=7))
    files = ["--src", toy / "train.en", small_src, "--tgt", toy / "train.de", small_tgt]
    files += ["--valid-src", toy / "valid.en", "--valid-tgt", toy / "valid.de"]
    settings = [part for setting in [*TINY_RUN, "training.save_every=1"] for part in ("--set", setting)]

    def train(run: str, steps: int, weights: str = "[1, 1]") -> tuple[int, str]:
        options = [
            "--max-steps",
            steps,
            "--set",
            f"data.mixing.weights={weights}",
            "--set",
            "data.noise.share=0.5",
        ]
        done = cli("train", "--run", tmp_path / run, *files, *settings, *options)
        return done.returncode, done.stderr.decode()

    code, said = train("whole", 30)
    assert (
        code == 0 and "mixing: pairs of an epoch: train.en 170 (50%, has 300), small.en 170 (50%, has 40)" in said
    )
    assert train("resumed", 7)[0] == train("resumed", 30)[0] == 0
    weights = [
        (tmp_path / run / "checkpoints/last/model.safetensors").read_bytes() for run in ("whole", "resumed")
    ]
    assert weights[0] == weights[1]
    code, said = train("wrong", 3, "[1, 1, 1]")
    assert code == 2 and "has 3 numbers, the corpus has 2 files" in said
