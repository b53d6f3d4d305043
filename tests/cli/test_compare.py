from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from conftest import cli


@pytest.fixture(scope="module")
def desk(toy: Path, toy_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run, its evaluated translations, and others."""
    folder = tmp_path_factory.mktemp("compared")
    shutil.copytree(toy_run, folder / "run", symlinks=True)
    for name, share in (("good", 3), ("bad", 2)):
        lines = (toy / "test.de").read_text().split("\n")[:-1]
        lines = ["kaputt" if i % share == 0 else line for i, line in enumerate(lines)]
        (folder / f"{name}.de").write_text("".join(f"{line}\n" for line in lines))
    return folder


@pytest.fixture(scope="module")
def test(toy: Path) -> tuple[object, ...]:
    return "--src", toy / "test.en", "--ref", toy / "test.de", "--resamples", 20


def test_runs_and_files_are_compared(desk: Path, test: tuple[object, ...]) -> None:
    done = cli("compare", desk / "bad.de", desk / "good.de", desk / "run", *test, "--beam", 1, "--json")
    assert done.returncode == 0, done.stderr.decode()
    result = json.loads(done.stdout)
    bleu = result["results"]["BLEU"]
    assert [row["system"] for row in bleu] == [str(desk / name) for name in ("bad.de", "good.de", "run")]
    assert bleu[0]["mean"] < bleu[1]["mean"] and bleu[0]["p_bootstrap"] is None and 0 < bleu[1]["p_bootstrap"] <= 1
    assert "training text of" in result["word_counts"] and result["duels"][0]["wins"] == 6
    assert result["duels"][0]["losses"] == 3 and result["duels"][0]["ties"] == 11
    text = cli("compare", desk / "bad.de", desk / "good.de", *test, "--examples", 1).stdout.decode()
    assert f"\n{desk}/good.de: sentences by chrF: 6 better, 3 worse, 11 equal\n" in text
    assert text.count("  best, line ") == text.count("  worst, line ") == 1 and "p randomisation" in text
    assert "F1 of words by their frequency in the references" in text


def test_seeds_are_separated_by_commas(desk: Path, test: tuple[object, ...]) -> None:
    bad, good = desk / "bad.de", desk / "good.de"
    done = cli("compare", f"{bad},{good}", f"{good},{bad}", *test)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.count(b"2 seeds") == 8 and b"p seeds" in done.stdout and b"p bootstrap" not in done.stdout


def test_results_of_evaluate_are_checked(desk: Path, test: tuple[object, ...], toy: Path) -> None:
    assert cli("evaluate", desk / "run", *test[:4], "--beam", 1, "--resamples", 0).returncode == 0
    assert cli("evaluate", desk / "run", *test[:4], "--beam", 1, "--tokenize", "intl").returncode == 0
    stored, intl = (desk / f"run/evaluation/test.en.beam1.{more}.json" for more in ("resamples0", "tokintl"))
    for system in (stored, stored.with_suffix(".txt")):
        done = cli("compare", system, desk / "good.de", *test)
        assert done.returncode == 0, done.stderr.decode()
    done = cli("compare", intl, desk / "good.de", *test)
    assert done.returncode == 3 and b"its BLEU was computed in another way: tok intl, here 13a" in done.stderr
    swapped = ("--src", toy / "test.en", "--ref", toy / "test.en")
    done = cli("compare", stored, desk / "good.de", *swapped)
    assert done.returncode == 3 and b"translations of another test set" in done.stderr
    assert f"references {toy}/test.de".encode() in done.stderr


def test_mistakes(desk: Path, test: tuple[object, ...], toy: Path) -> None:
    good, cases = desk / "good.de", []
    cases.append((2, "two or more systems", [good, *test]))
    cases.append((2, "given twice", [good, good, *test]))
    cases.append((2, "needs --src and --ref", [good, desk / "bad.de", "--ref", toy / "test.de"]))
    cases.append((3, "300 lines, but", [good, toy / "train.de", *test]))
    cases.append((3, "no such file", [good, desk / "none", *test]))
    cases.append((3, "no such file", [good, desk / "none.json", *test]))
    (desk / "other.json").write_text("[]")
    cases.append((3, "not a result of evaluate", [good, desk / "other.json", *test]))
    for code, words, arguments in cases:
        done = cli("compare", *arguments)
        assert done.returncode == code and words in done.stderr.decode(), (words, done.stderr.decode())
