from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import cli


@pytest.fixture(scope="module")
def run(toy_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(toy_run, tmp_path_factory.mktemp("confident") / "run", symlinks=True))


GOOD, BAD = "The cat sees the house today.", "house house the zebra quickly xylophones"
TEXT = f"{GOOD}\n\n{BAD}\n".encode()


def objects(*arguments: object) -> list[dict[str, Any]]:
    done = cli("translate", *arguments, "--beam", 2, "--format", "jsonl", stdin=TEXT)
    assert done.returncode == 0, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.decode().split("\n")[:-1]]


def test_confidence_of_lines(run: Path) -> None:
    without = objects(run)
    assert "confidence" not in without[0] and not list((run / "evaluation").glob("confidence-*"))
    good, blank, bad = objects(run, "--confidence")
    assert 0 <= bad["confidence"] < good["confidence"] <= 1 and blank["confidence"] == 1
    assert [line["translation"] for line in (good, blank, bad)] == [line["translation"] for line in without]
    (stored,) = (run / "evaluation").glob("confidence-*.json")
    before = stored.stat().st_mtime_ns
    again = objects(run, "--confidence", "--threads", 1)
    assert again[0]["confidence"] == good["confidence"] and stored.stat().st_mtime_ns == before
    stored.write_text("{}")
    assert objects(run, "--confidence")[2]["confidence"] == bad["confidence"]


def test_translations_below_a_confidence_are_withheld(run: Path) -> None:
    good, _, bad = objects(run, "--confidence")
    between = (good["confidence"] + bad["confidence"]) / 2
    marked = objects(run, "--min-confidence", between)
    assert [line["status"] for line in marked] == [good["status"], "empty", "unsure"]
    assert marked[2]["translation"] == bad["translation"] and marked[2]["confidence"] == bad["confidence"]
    done = cli("translate", run, "--min-confidence", between, "--beam", 2, stdin=TEXT)
    assert done.stdout.decode() == f"{good['translation']}\n\n\n"
    assert b"1 of 3 lines are below --min-confidence" in done.stderr


def test_where_there_is_no_confidence(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "bare", symlinks=True)
    shutil.rmtree(tmp_path / "bare/data")
    shutil.rmtree(tmp_path / "bare/evaluation", ignore_errors=True)
    cases = [
        ("confidence needs 20 lines", [tmp_path / "bare", "--confidence"]),
        ("cannot be combined with --engine ctranslate2", [run, "--confidence", "--engine", "ctranslate2"]),
        ("cannot be combined with --ensemble", [run, "--confidence", "--ensemble", run]),
        ("min_confidence", [run, "--min-confidence", 2]),
    ]
    for words, arguments in cases:
        done = cli("translate", *arguments, stdin=TEXT)
        assert done.returncode == 2 and words in done.stderr.decode(), done.stderr.decode()
