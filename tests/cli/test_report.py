from __future__ import annotations

import json
import re
import shutil
from html import unescape
from pathlib import Path

import pytest
from conftest import cli, tree

from transformer_cli.evaluation.failures import FAILURES


@pytest.fixture
def run(toy_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(toy_run, tmp_path / "mine", symlinks=True))


def test_report_of_a_run_on_its_validation_set(run: Path, toy: Path) -> None:
    before = tree(run)
    done = cli("report", run, "--beam", 1, "--resamples", 20)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode().strip() == str(run / "report.html")
    text = unescape((run / "report.html").read_text(encoding="utf-8"))
    assert set(tree(run)) - set(before) == {"report.html"}
    evaluated = cli("evaluate", run, "--src", toy / "valid.en", "--ref", toy / "valid.de", "--beam", 1,
                    "--resamples", 20, "--json")  # fmt: skip
    for score in json.loads(evaluated.stdout)["scores"]:
        assert f"{score['value']:.2f}" in text and score["signature"] in text
    manifest = json.loads((run / "checkpoints/best/MANIFEST.json").read_text())
    assert manifest["files"]["model.safetensors"]["sha256"] in text
    assert all(value in text for value in manifest["identity"].values())
    assert all(failure.title in text and failure.definition in text for failure in FAILURES)
    assert "validation set, decoded from the run" in text and f"transformer-cli report {run} --beam 1" in text
    assert text.count('class="line s0"') >= 4 and "data-weights" in text and "vocab_size: 100" in text
    first = (run / "report.html").read_bytes()
    assert cli("report", run, "--beam", 1, "--resamples", 20).returncode == 0
    speed = re.compile(rb"sentences per second.*?</td>")
    assert speed.sub(b"", (run / "report.html").read_bytes()) == speed.sub(b"", first)


def test_report_of_two_runs_on_a_test_set(run: Path, toy: Path, tmp_path: Path) -> None:
    other = shutil.copytree(run, tmp_path / "other", symlinks=True)
    references = (toy / "test.de").read_text().split("\n")[:-1]
    (tmp_path / "ref").write_text("".join(f"<b>{line}\n" for line in references))
    options = ("--src", toy / "test.en", "--ref", tmp_path / "ref", "-o", tmp_path / "r.html", "--resamples", 20)
    done = cli("report", run, other, *options)
    assert done.returncode == 0, done.stderr.decode()
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "mine and other" in text and "better on 0 lines, worse on 0, equal on 20" in text
    assert "<b>Heute" not in text and "&lt;b&gt;" in text


def test_mistakes(run: Path, toy: Path, tmp_path: Path) -> None:
    test = ["--src", toy / "test.en", "--ref", toy / "test.de"]
    shutil.copytree(run, tmp_path / "bare", symlinks=True)
    shutil.rmtree(tmp_path / "bare/data")
    cases = [
        (2, "must be given together", [run, "--src", toy / "test.en"]),
        (2, "one run, or two", [run, run, run]),
        (4, "no such run", [tmp_path / "none", *test]),
        (3, "has no validation text", [tmp_path / "bare"]),
        (3, "20 lines", [run, "--src", toy / "test.en", "--ref", toy / "train.de"]),
        (2, "is also read", [run, *test, "-o", toy / "test.de"]),
        (5, "is a directory", [run, "-o", tmp_path]),
    ]
    before = tree(run)
    for code, words, arguments in cases:
        done = cli("report", *arguments)
        assert done.returncode == code and words in done.stderr.decode(), (words, done.stderr.decode())
    assert tree(run) == before
    assert cli("report", tmp_path / "bare", *test, "--beam", 1, "--resamples", 0).returncode == 0
