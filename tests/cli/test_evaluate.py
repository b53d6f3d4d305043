from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from conftest import cli


@pytest.fixture(scope="module")
def run(toy_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(toy_run, tmp_path_factory.mktemp("evaluated") / "run", symlinks=True))


def test_several_test_sets_of_one_name_are_kept_apart(run: Path, toy: Path, tmp_path: Path) -> None:
    for side in ("en", "de"):
        lines = (toy / f"test.{side}").read_text().split("\n")[:8]
        (tmp_path / f"test.{side}").write_text("\n".join(lines) + "\n")
    options = []
    for folder in (toy, tmp_path):
        options += ["--src", folder / "test.en", "--ref", folder / "test.de"]
    done = cli("evaluate", run, *options, "--beam", 2, "--json", "--resamples", 10)
    assert done.returncode == 0, done.stderr.decode()
    results = json.loads(done.stdout)["test_sets"]
    assert [result["lines"] for result in results] == [20, 8]
    assert len({result["hypotheses"] for result in results}) == 2
    for result, folder in zip(results, (toy, tmp_path), strict=True):
        stored = json.loads(Path(result["hypotheses"]).with_suffix(".json").read_text())
        assert stored["source"] == str(folder / "test.en") and stored["scores"] == result["scores"]
        assert all("bs:10|seed" in score["signature"] and score["half_width"] >= 0 for score in stored["scores"])
    scored = cli("evaluate", *(w for r in results for w in ("--hyp", r["hypotheses"])),
                 "--ref", toy / "test.de", "--ref", tmp_path / "test.de", "--resamples", 10)  # fmt: skip
    text = scored.stdout.decode()
    assert text.count("chrF2++ ") == 2 and "\n\nBLEU" in text
    for result in results:
        assert f"BLEU {result['scores'][0]['value']:.2f} (μ = {result['scores'][0]['mean']:.2f} ±" in text


def test_test_set_of_the_catalogue(run: Path, toy: Path, tmp_path: Path) -> None:
    options = ("--test-set", "wmt14/full", "--langpair", "en-de")
    done = cli("evaluate", run, *options, SACREBLEU=str(tmp_path))
    assert done.returncode == 3 and b"downloads nothing" in done.stderr and not list(tmp_path.iterdir())
    (tmp_path / "wmt14/full").mkdir(parents=True)
    for field, side in (("src", "en"), ("ref", "de")):
        shutil.copy(toy / f"test.{side}", tmp_path / f"wmt14/full/wmt14_full.en-de.{field}")
    done = cli(
        "evaluate", run, *options, "--beam", 1, "--resamples", 0, "--tokenize", "intl", SACREBLEU=str(tmp_path)
    )
    assert done.returncode == 0, done.stderr.decode()
    assert "tok:intl" in done.stdout.decode() and "bs:" not in done.stdout.decode()
    assert (run / "evaluation/wmt14_full.en-de.beam1.tokintl.resamples0.txt").exists()


def test_mistakes(run: Path, toy: Path, tmp_path: Path) -> None:
    test = ["--src", toy / "test.en", "--ref", toy / "test.de"]
    two = cli("evaluate", run, *test, *test, "-o", tmp_path / "out")
    assert two.returncode == 2 and b"--output is one file" in two.stderr and not (tmp_path / "out").exists()
    unused = cli("evaluate", run, *test, "--smooth-value", 1)
    assert unused.returncode == 2 and b"no effect with smooth_method exp" in unused.stderr
