"""`clean`: what it keeps, what it removes and why, and what it never touches."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import CLI, ENVIRONMENT, ROOT, cli, toy_pairs, tree, write_pairs
from planted import FAULTS, plant, sample_pairs


def lines_of(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").split("\n")[:-1]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[str, str]], dict[str, int]]:
    """A directory with a corpus full of faults, its pairs, and the lines of the faults."""
    directory = tmp_path_factory.mktemp("planted")
    pairs, lines = plant(sample_pairs(4000))
    write_pairs(directory, "train", pairs)
    write_pairs(directory, "test", pairs[3000:3010])
    return directory, pairs, lines


def test_every_fault_is_removed_with_its_reason(
    planted: tuple[Path, list[tuple[str, str]], dict[str, int]],
) -> None:
    directory, pairs, lines = planted
    files = ["--src", directory / "train.en", "--tgt", directory / "train.de"]
    exclude = ["--exclude", directory / "test.en", directory / "test.de"]
    prefix = directory / "cleaned"
    done = cli("clean", *files, *exclude, "--output", prefix, "--set", "data.filters.languages=en,de")
    assert done.returncode == 0, done.stderr.decode()
    report = json.loads((directory / "cleaned.report.json").read_text())
    assert report["read"] == 4000 == report["kept"] + sum(report["removed"].values())
    assert f"kept     {report['kept']:>12,} pairs" in done.stdout.decode()
    kept = list(zip(lines_of(directory / "cleaned.en"), lines_of(directory / "cleaned.de"), strict=True))
    assert len(kept) == report["kept"]
    header, *removed = [line.split("\t") for line in lines_of(directory / "cleaned.removed.tsv")]
    assert header == ["file", "line", "reason", "source", "target"]
    reasons = {int(line): reason for _, line, reason, _, _ in removed}
    assert len(reasons) == len(removed) == 4000 - len(kept)
    for name, fault in FAULTS.items():
        assert (lines[name] in reasons) == fault.cleaned, name
    kinds = {name: reasons.get(lines[name]) for name, fault in FAULTS.items() if fault.cleaned}
    expected = {name: "blank" if "blank" in name else FAULTS[name].kind for name in kinds}
    # A pair with two faults has the reason of the first filter.
    assert {name for name in kinds if kinds[name] != expected[name]} <= {"wrong language", "untranslated"}
    for name in ("repeated pairs", "near-duplicates", "header row"):
        assert reasons[lines[name]] == name
    assert {reasons[line] for line in range(3001, 3011)} == {"also in the test set"}
    innocent = set(reasons) - set(lines.values()) - set(range(3001, 3011))
    assert len(innocent) <= 4, [pairs[line - 1] for line in innocent]
    by_line = [pair for number, pair in enumerate(pairs, 1) if number not in reasons]
    assert [tuple(map(str.strip, pair)) for pair in by_line] == kept


def test_cleaning_is_deterministic_and_repeatable(
    planted: tuple[Path, list[tuple[str, str]], dict[str, int]], tmp_path: Path
) -> None:
    directory, *_ = planted
    files = ["--src", directory / "train.en", "--tgt", directory / "train.de"]
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        assert (
            cli(
                "clean", *files, "--output", tmp_path / name / "out", PYTHONHASHSEED={"a": "1", "b": "2"}[name]
            ).returncode
            == 0
        )
    first, second = tree(tmp_path / "a"), tree(tmp_path / "b")
    report = first.pop("out.report.json").replace(b"/a/", b"/b/")
    assert report == second.pop("out.report.json") and first == second
    again = cli(
        "clean", "--src", tmp_path / "a/out.en", "--tgt", tmp_path / "a/out.de", "--output", tmp_path / "c"
    )
    assert again.returncode == 0
    twice = json.loads((tmp_path / "c.report.json").read_text())
    assert twice["kept"] >= 0.998 * twice["read"]


def test_a_spreadsheet_becomes_two_files(tmp_path: Path) -> None:
    with (tmp_path / "corpus.csv").open("w", newline="") as stream:
        rows = [(i, s.replace("today", "today &amp; now"), t) for i, (s, t) in enumerate(sample_pairs(200))]
        csv.writer(stream, delimiter=";").writerows([("Nr", "English", "German"), *rows])
    command = [
        "clean",
        "--data",
        tmp_path / "corpus.csv",
        "--columns",
        "English,German",
        "--normalize",
        "entities",
    ]
    done = cli(*command, "--output", tmp_path / "new/cleaned", "--json")
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout)["kept"] == 200
    kept = lines_of(tmp_path / "new/cleaned.en")
    assert len(kept) == 200 == len(lines_of(tmp_path / "new/cleaned.de")) and "&amp;" not in "".join(kept)
    piped = f"{' '.join(CLI)} clean --src <(zcat {tmp_path}/a.gz) --tgt {tmp_path}/new/cleaned.de --output {tmp_path}/piped"
    (tmp_path / "a.gz").write_bytes(gzip.compress((tmp_path / "new/cleaned.en").read_bytes()))
    assert subprocess.run(["bash", "-c", piped], env=ENVIRONMENT, capture_output=True).returncode == 0
    assert lines_of(tmp_path / "piped.src") == kept


def test_nothing_is_overwritten_that_is_read_and_nothing_is_left_after_an_error(tmp_path: Path) -> None:
    write_pairs(tmp_path, "my", sample_pairs(50))
    (tmp_path / "blank.en").write_text("\n" * 5)
    (tmp_path / "short.de").write_text("eins\n")
    before = tree(tmp_path)
    my = ["--src", tmp_path / "my.en", "--tgt", tmp_path / "my.de"]
    blank = ["--src", tmp_path / "blank.en", "--tgt", tmp_path / "blank.en"]
    cases: list[tuple[int, str, list[object]]] = [
        (2, "is also read", ["clean", *my, "--output", tmp_path / "my"]),
        (2, "is also read", ["clean", *my, "--output", tmp_path / "x", "--exclude", tmp_path / "x.de"]),
        (3, "no pair is left: 5 blank", ["clean", *blank, "--output", tmp_path / "out"]),
        (3, "not aligned", ["clean", *my[:2], "--tgt", tmp_path / "short.de", "--output", tmp_path / "out"]),
        (2, "no such normalisation", ["clean", *my, "--output", tmp_path / "out", "--normalize", "spelling"]),
        (
            2,
            "two languages are needed",
            ["clean", *my, "--output", tmp_path / "out", "--set", "data.filters.languages=en"],
        ),
        (
            2,
            "is not a language",
            ["clean", *my, "--output", tmp_path / "out", "--set", "data.filters.languages=en,klingon"],
        ),
        (
            2,
            "must be above 1",
            ["clean", *my, "--output", tmp_path / "out", "--set", "data.filters.char_ratio=0.5"],
        ),
        (2, "no corpus is given", ["clean", "--output", tmp_path / "out"]),
        (2, "--output", ["clean", *my]),
        (5, "cannot be written", ["clean", *my, "--output", "/proc/none/out"]),
    ]
    (tmp_path / "x.de").write_text("ein Satz\n")
    for code, words, arguments in cases:
        done = cli(*arguments)
        assert (done.returncode, words in done.stderr.decode()) == (code, True), (arguments, done.stderr.decode())
    (tmp_path / "x.de").unlink()
    assert tree(tmp_path) == before


def test_a_kill_leaves_old_or_new_files_and_no_mixture(tmp_path: Path) -> None:
    files = {}
    for name in ("old", "new"):
        pairs = sample_pairs(400)
        files[name] = write_pairs(tmp_path, name, pairs if name == "old" else pairs[::-1])
        src, tgt = files[name]
        assert cli("clean", "--src", src, "--tgt", tgt, "--output", tmp_path / f"{name}.whole").returncode == 0
    whole = {name: [(tmp_path / f"{name}.whole.{side}").read_bytes() for side in ("en", "de")] for name in files}
    rng = random.Random(1)
    arguments = [
        [*CLI, "clean", "--src", str(s), "--tgt", str(t), "--output", str(tmp_path / "out")]
        for s, t in files.values()
    ]
    assert subprocess.run(arguments[0], env=ENVIRONMENT, capture_output=True).returncode == 0
    for trial in range(6):
        process = subprocess.Popen(
            arguments[(trial + 1) % 2], env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(rng.uniform(0.3, 1.2))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        present = [(tmp_path / f"out.{side}") for side in ("en", "de")]
        if all(path.exists() for path in present):
            assert [path.read_bytes() for path in present] in whole.values()
    assert subprocess.run(arguments[1], env=ENVIRONMENT, capture_output=True).returncode == 0
    assert [(tmp_path / f"out.{side}").read_bytes() for side in ("en", "de")] == whole["new"]


def invent(word: str, alphabet: range, length: int) -> str:
    """A word of another script for a German one, always the same."""
    digest = hashlib.sha256(word.encode()).digest()
    return "".join(
        chr(alphabet[int.from_bytes(digest[2 * i : 2 * i + 2], "big") % len(alphabet)]) for i in range(length)
    )


def test_scripts_without_spaces_lose_no_more_than_german(tmp_path: Path) -> None:
    pairs = sample_pairs(6000)
    write_pairs(tmp_path, "de", pairs)
    thai = range(0x0E01, 0x0E2F)
    for name, alphabet, length, stop in (("zh", range(0x4E00, 0x5E00), 2, "。"), ("th", thai, 4, "")):
        targets = [
            "".join(invent(word.strip(".,?!"), alphabet, length) for word in t.split()) + stop for _, t in pairs
        ]
        write_pairs(tmp_path, name, [(s, t) for (s, _), t in zip(pairs, targets, strict=True)])
    removed = {}
    for name in ("de", "zh", "th"):
        prefix = tmp_path / f"{name}.cleaned"
        done = cli("clean", "--src", tmp_path / f"{name}.en", "--tgt", tmp_path / f"{name}.de", "--output", prefix)
        assert done.returncode == 0, done.stderr.decode()
        removed[name] = json.loads(Path(f"{prefix}.report.json").read_text())["removed"]
    assert removed["de"] == {} and sum(removed["zh"].values()) + sum(removed["th"].values()) <= 6, removed


MULTI30K = Path(os.environ.get("MULTI30K", ROOT / "data/multi30k"))


@pytest.mark.slow
@pytest.mark.skipif(not MULTI30K.exists(), reason="needs Multi30k: MULTI30K=DIRECTORY")
@pytest.mark.parametrize("language", ["de", "fr", "cs"])
def test_multi30k_loses_less_than_half_a_percent(language: str, tmp_path: Path) -> None:
    files = ["--src", MULTI30K / "train.en", "--tgt", MULTI30K / f"train.{language}"]
    assert cli("clean", *files, "--output", tmp_path / "out").returncode == 0
    report = json.loads((tmp_path / "out.report.json").read_text())
    assert report["read"] == 29_000 and report["kept"] > 0.995 * 29_000, report["removed"]


def test_results_do_not_depend_on_the_number_of_processes(tmp_path: Path) -> None:
    """Several thousand pairs, so that the processes share them."""
    pairs = toy_pairs(5000)
    pairs[2000:2100] = [(src, pairs[i][1]) for i, (src, _) in enumerate(pairs[2000:2100])]
    pairs[4000] = ("a single rare line.", "")
    src, tgt = write_pairs(tmp_path, "train", pairs)
    found = []
    for count in ("1", "3"):
        run = [sys.executable, "-c", LIMITED, count]
        prefix = tmp_path / count
        subprocess.run([*run, "clean", "--src", src, "--tgt", tgt, "--output", prefix], check=True)
        checked = subprocess.run(
            [*run, "check", "--json", "--src", src, "--tgt", tgt], check=True, capture_output=True
        )
        outputs = [(tmp_path / f"{count}.{name}").read_bytes() for name in ("en", "de", "removed.tsv")]
        found.append([checked.stdout, *outputs])
    assert found[0] == found[1]


LIMITED = (
    "import sys\nfrom transformer_cli.data import parallel\ncores = int(sys.argv.pop(1))\n"
    "parallel.available_cores = lambda: cores\nfrom transformer_cli.__main__ import main\nmain()\n"
)
