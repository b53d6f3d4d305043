"""Every option of `translate`, `score` and `inspect`, as a user gives it, does what it promises."""

from __future__ import annotations

import contextlib
import gzip
import json
import math
import re
import shutil
import signal
import string
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest
from conftest import CLI, ENVIRONMENT, TINY_RUN, cli

LINES = ["The cat sees the house today.", "", "My aunt loves the child often.", "A bird finds the horse now."]
TEXT = "".join(line + "\n" for line in LINES).encode()


def stdout_lines(*arguments: object, stdin: bytes = TEXT) -> list[str]:
    """The lines of stdout of a command that succeeds."""
    done = cli(*arguments, stdin=stdin)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().split("\n")[:-1]


def objects(*arguments: object) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stdout_lines(*arguments, "--format", "jsonl")]


def test_jsonl_fields(toy_run: Path) -> None:
    first, empty, *_ = objects("translate", toy_run)
    assert list(first) == ["source", "translation", "score", "token_log_probs", "status", "seconds"]
    assert (empty["status"], empty["translation"], empty["token_log_probs"]) == ("empty", "", [])
    length = len(first["token_log_probs"])
    assert math.isclose(first["score"], sum(first["token_log_probs"]) / ((5 + length) / 6), rel_tol=1e-3)
    assert first["seconds"] > 0


def test_n_best_is_sorted_and_distinct(toy_run: Path) -> None:
    rows = [line.split(" ||| ") for line in stdout_lines("translate", toy_run, "--n-best", 4, "--beam", 8)]
    assert {row[0] for row in rows} == {"0", "1", "2", "3"}
    groups = stdout_lines("translate", toy_run, "--n-best", 5, "--diversity-groups", 5, "--diversity-strength", 9)
    assert (
        len({line for line in groups if line.startswith("0 ")})
        == len([x for x in groups if x.startswith("0 ")])
        > 1
    )
    for number in "023":
        own = [(text, float(score)) for n, text, score in rows if n == number]
        assert len({text for text, _ in own}) == len(own) > 1
        assert [s for _, s in own] == sorted((s for _, s in own), reverse=True)
    best = stdout_lines("translate", toy_run, "--beam", 8)
    assert [next(r[1] for r in rows if r[0] == str(i)) for i in range(4)] == best
    fields = objects("translate", toy_run, "--n-best", 3)
    assert all(f["n_best"][0]["translation"] == f["translation"] for f in fields)


def test_sampling_is_reproducible_by_seed_and_not_by_batch(toy_run: Path) -> None:
    sample = ["translate", toy_run, "--sample", "--temperature", 2.5]
    once = stdout_lines(*sample)
    assert once == stdout_lines(*sample, "--batch-tokens", 1) == stdout_lines(*sample, "--seed", 1)
    assert once != stdout_lines(*sample, "--seed", 2)
    assert (
        stdout_lines(*sample, "--top-k", 1)
        == stdout_lines(*sample, "--top-p", 0.001)
        == stdout_lines("translate", toy_run, "--beam", 1)
    )


def test_prefix_terms_and_avoid(toy_run: Path, tmp_path: Path) -> None:
    plain = stdout_lines("translate", toy_run)
    prefix, terms, avoid = (tmp_path / name for name in ("prefix", "terms.tsv", "avoid"))
    prefix.write_text("Jetzt\n\n\nHeute findet\n")
    forced = stdout_lines("translate", toy_run, "--prefix", prefix)
    assert forced[0].startswith("Jetzt") and forced[3].startswith("Heute findet")
    assert forced[1:3] == plain[1:3]
    terms.write_text("cat\tder Vogel\nHOUSE\tdas Kind das Kind\n\nbird\tPferd\n")
    bound = stdout_lines("translate", toy_run, "--terms", terms)
    assert "der Vogel" in bound[0] and "das Kind das Kind" in bound[0] and "Pferd" in bound[3]
    assert bound[1:3] == plain[1:3]
    avoid.write_text("Heute\ndas Kind\n")
    free = stdout_lines("translate", toy_run, "--avoid", avoid)
    assert not any("Heute" in line or "das Kind" in line for line in free) and any("Heute" in p for p in plain)
    both = stdout_lines("translate", toy_run, "--terms", terms, "--prefix", prefix, "--no-repeat-ngram", 1)
    assert both[0].startswith("Jetzt") and "das Kind das Kind" in both[0] and both[3].startswith("Heute findet")


def test_protect(toy_run: Path) -> None:
    items = ["https://x.org/a?b=1", "{name}", "1,234.5", "%s", "me@foo.org"]
    text = "".join(f"The cat sees {item} the house <b>today</b>.\n\n" for item in items).encode()
    lines = stdout_lines("translate", toy_run, "--protect", "--beam", 2, stdin=text)
    assert len(lines) == 2 * len(items) and not any(lines[1::2])
    for item, line in zip(items, lines[::2], strict=True):
        assert line.count(item) == line.count("<b>") == line.count("</b>") == 1
    assert stdout_lines("translate", toy_run, "--protect") == stdout_lines("translate", toy_run)
    (first, *_) = objects("translate", toy_run, "--protect")
    assert list(first) == ["source", "translation", "score", "token_log_probs", "status", "seconds"]


def test_required_terms_are_whole_words(toy_run: Path, tmp_path: Path) -> None:
    (tmp_path / "terms").write_text("house\tJetz\nhorse\tHund\nchild\tHund\n")  # tokens that begin longer words
    for options in ([], ["--no-repeat-ngram", 1]):
        lines = stdout_lines("translate", toy_run, "--terms", tmp_path / "terms", *options)
        assert re.search(r"\bJetz\b", lines[0]) and re.search(r"\bHund\b", lines[2]), lines


def test_avoiding_everything_is_reported(toy_run: Path, tmp_path: Path) -> None:
    (tmp_path / "avoid").write_text("\n".join(string.ascii_letters + "äöüÄÖÜß."))
    for beam in (1, 5):
        arguments = ["translate", toy_run, "--avoid", tmp_path / "avoid", "--beam", beam, "--format", "jsonl"]
        done = cli(*arguments, stdin=TEXT)
        statuses = [json.loads(line)["status"] for line in done.stdout.decode().splitlines()]
        assert statuses == ["failed", "empty", "failed", "failed"]
        assert b"3 lines have no valid translation" in done.stderr


def test_prefix_of_thousands_of_words_is_refused(toy_run: Path, tmp_path: Path) -> None:
    (tmp_path / "prefix").write_text("Jetzt\n\n" + "Haus " * 4000 + "\n\n")
    done = cli("translate", toy_run, "--prefix", tmp_path / "prefix", stdin=TEXT)
    assert done.returncode == 3 and not done.stdout
    assert b"line 3: its prefix and required terms have" in done.stderr


def test_lengths_and_repetition(toy_run: Path) -> None:
    longer = objects("translate", toy_run, "--min-length-ratio", 1.9)
    shorter = objects("translate", toy_run)
    assert all(
        len(a["token_log_probs"]) > len(b["token_log_probs"])
        for a, b in zip(longer, shorter, strict=True)
        if b["source"]
    )
    for options in (["--no-repeat-ngram", 1], ["--repetition-penalty", 9], ["--coverage-penalty", 0.5]):
        assert len(stdout_lines("translate", toy_run, *options)) == 4
    for options in (
        ["--diversity-groups", 5, "--n-best", 5],
        ["--mbr-samples", 8],
        ["--mbr-samples", 8, "--n-best", 2],
    ):
        assert len(stdout_lines("translate", toy_run, *options)) >= 4


def test_mbr_returns_consensus_sample(toy_run: Path) -> None:
    assert stdout_lines("translate", toy_run, "--mbr-samples", 16, "--temperature", 0.3) == stdout_lines(
        "translate", toy_run
    )


@pytest.mark.parametrize(
    "options", [["--threads", 1], ["--threads", 3], ["--precision", "fp64"], ["--precision", "int8"]]
)
def test_threads_and_precision_do_not_change_translations(toy_run: Path, toy: Path, options: list[object]) -> None:
    text = (toy / "test.en").read_bytes()
    there = stdout_lines("translate", toy_run, "--batch-tokens", 60, stdin=text)
    here = stdout_lines("translate", toy_run, "--batch-tokens", 60, *options, stdin=text)
    assert sum(a == b for a, b in zip(there, here, strict=True)) >= (18 if "int8" in options else 20)


def test_ensembles(toy_run: Path) -> None:
    alone = stdout_lines("translate", toy_run)
    assert stdout_lines("translate", toy_run, "--ensemble", toy_run) == alone
    assert stdout_lines("translate", toy_run, "--ensemble", f"{toy_run}@last", "--ensemble", toy_run, "--beam", 2)


def test_alignments(toy_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "links"
    translations = stdout_lines("translate", toy_run, "--alignments", out)
    links = out.read_text().split("\n")[:-1]
    assert len(links) == 4 and links[1] == ""
    for source, target, line in zip(LINES, translations, links, strict=True):
        for s, t in (map(int, link.split("-")) for link in line.split()):
            assert s < len(source.split()) and t < len(target.split())
        assert {t for _, t in (map(int, link.split("-")) for link in line.split())} == set(
            range(len(target.split()))
        )
    assert objects("translate", toy_run, "--alignments", out)[0]["alignment"]


ENGINE_WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None  # an import of torch fails
from transformer_cli.cli.app import main
main()
"""


def test_engine_ctranslate2_gives_the_same_translations_without_torch(toy_run: Path, tmp_path: Path) -> None:
    pytest.importorskip("ctranslate2")
    shutil.copytree(toy_run, tmp_path / "run", symlinks=True)
    text = tmp_path / "new.en"
    text.write_bytes(TEXT)
    arguments = ["translate", tmp_path / "run", text, "--engine", "ctranslate2"]
    expected = stdout_lines("translate", tmp_path / "run", text)
    first = cli(*arguments)
    assert first.returncode == 0 and b"exporting the model for CTranslate2" in first.stderr
    assert first.stdout.decode().split("\n")[:-1] == expected
    command = [sys.executable, "-c", ENGINE_WITHOUT_TORCH, *map(str, arguments), "--shard", "1/1"]
    second = subprocess.run(command, capture_output=True, env=ENVIRONMENT, timeout=60)
    assert second.returncode == 0, second.stderr.decode()
    assert second.stdout == first.stdout and b"exporting" not in second.stderr
    rows = [line.split(" ||| ") for line in stdout_lines(*arguments, "--n-best", 3)]
    assert next(row[1] for row in rows if row[0] == "0") == expected[0] and len(rows) > 4
    fields = [json.loads(line) for line in stdout_lines(*arguments, "--format", "jsonl")]
    assert [f["translation"] for f in fields] == expected and fields[0]["token_log_probs"]


SHARDED: dict[str, list[object]] = {
    "text": [],
    "n-best": ["--n-best", 2],
    "sample": ["--sample", "--temperature", 2.5],
    "jsonl": ["--format", "jsonl"],
    "prefix": ["--prefix", "starts"],
    "alignments": ["--alignments", "links"],
}


@pytest.mark.parametrize("name", SHARDED)
def test_shards_concatenate_to_the_whole(name: str, toy_run: Path, toy: Path, tmp_path: Path) -> None:
    source = tmp_path / "new.en"
    shutil.copyfile(toy / "test.en", source)
    (tmp_path / "starts").write_text("Heute\n" * source.read_text().count("\n"))
    options = [tmp_path / o if o in ("starts", "links") else o for o in SHARDED[name]]

    def outputs(*shard: object) -> tuple[list[object], list[str]]:
        lines: list[object] = list(stdout_lines("translate", toy_run, source, *options, *shard))
        if name == "jsonl":
            lines = [{**json.loads(str(line)), "seconds": None} for line in lines]
        links = (tmp_path / "links").read_text().splitlines() if name == "alignments" else []
        return lines, links

    whole = outputs()
    parts = [outputs("--shard", f"{index}/3") for index in (1, 2, 3)]
    assert whole[0] == [line for lines, _ in parts for line in lines]
    assert whole[1] == [line for _, links in parts for line in links]
    assert all(part[0] for part in parts)


def test_shard_may_be_empty(toy_run: Path, tmp_path: Path) -> None:
    (tmp_path / "two").write_text("A cat.\nA bird.\n")
    assert [len(stdout_lines("translate", toy_run, tmp_path / "two", "--shard", f"{k}/4")) for k in (1, 2, 3, 4)] == [
        0, 1, 0, 1,
    ]  # fmt: skip


def test_check_invariance_of_one_line(toy_run: Path, tmp_path: Path) -> None:
    (tmp_path / "one").write_text("\nThe cat sees the house today.\n")
    assert cli("translate", toy_run, tmp_path / "one", "--check-invariance").returncode == 0


@contextlib.contextmanager
def waiting(run: Path) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes], IO[bytes], IO[bytes]]]:
    """`translate` after its first line, with stdin still open: the process and its three streams."""
    with subprocess.Popen(
        [*CLI, "translate", str(run)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=ENVIRONMENT,
    ) as process:  # fmt: skip
        assert process.stdin and process.stdout and process.stderr
        process.stdin.write(LINES[0].encode() + b"\n")
        process.stdin.flush()
        assert process.stdout.readline().strip()
        yield process, process.stdin, process.stdout, process.stderr


def test_interrupt_while_waiting_for_stdin(toy_run: Path) -> None:
    with waiting(toy_run) as (process, _stdin, _stdout, stderr):
        process.send_signal(signal.SIGINT)  # the pipe stays open
        assert process.wait(timeout=30) == 130
        assert b"Fatal" not in stderr.read()


def test_reader_exits_while_stdin_stays_open(toy_run: Path) -> None:
    with waiting(toy_run) as (process, stdin, stdout, stderr):
        stdout.close()
        stdin.write(LINES[0].encode() + b"\n")
        stdin.flush()
        assert process.wait(timeout=30) == 0
        assert b"Fatal" not in stderr.read()


def test_terms_of_a_long_line(toy_run: Path, tmp_path: Path) -> None:
    (tmp_path / "terms").write_text("cat\tder Vogel\ntoday\tOft Heute\n")
    long = " ".join([*LINES] * 40)
    (answer,) = [json.loads(line) for line in stdout_lines(
        "translate", toy_run, "--terms", tmp_path / "terms", "--format", "jsonl", stdin=long.encode()
    )]  # fmt: skip
    assert answer["status"] == "split" and answer["translation"].count("der Vogel") == 40
    assert answer["translation"].count("Oft Heute") == 40


@pytest.mark.parametrize("through", ["file", "stdin"])
def test_a_compressed_text_is_translated(toy_run: Path, tmp_path: Path, through: str) -> None:
    packed = gzip.compress(TEXT * 9, mtime=0)
    (tmp_path / "text.gz").write_bytes(packed)
    plain = stdout_lines("translate", toy_run, "--beam", 1, stdin=TEXT * 9)
    if through == "file":
        done = cli("translate", toy_run, tmp_path / "text.gz", "--beam", 1)
        assert b"note: " in done.stderr and b"text.gz: text, compressed with gzip" in done.stderr
    else:
        done = cli("translate", toy_run, "--beam", 1, stdin=packed)
    assert done.returncode == 0 and done.stdout.decode().splitlines() == plain
    for broken in (packed[:-9], b"PK\x03\x04" + b"\0" * 30 + b"xl/workbook.xml"):
        (tmp_path / "broken.gz").write_bytes(broken)
        done = cli("translate", toy_run, tmp_path / "broken.gz", "--beam", 1)
        assert (done.returncode, done.stdout) == (3, b"") and b"broken.gz: " in done.stderr


def test_shortlist(toy_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(toy_run, run, symlinks=True)
    assert stdout_lines("translate", run, "--shortlist", 30) == stdout_lines("translate", run)
    assert (run / "data/lexicon.npz").is_file()
    (run / "data/lexicon.npz").write_bytes(b"junk")  # counted anew
    assert stdout_lines("translate", run, "--shortlist", 30, "--beam", 1) == stdout_lines(
        "translate", run, "--beam", 1
    )
    (tmp_path / "prefix").write_text("Heute\n" * len(LINES))
    done = cli("translate", run, "--shortlist", 30, "--prefix", tmp_path / "prefix", stdin=TEXT)
    assert done.returncode == 2 and b"--shortlist cannot be combined with --prefix" in done.stderr


def test_exported_run_ignores_shortlist(toy_run: Path, tmp_path: Path) -> None:
    """Its training text stays behind, and a configuration that asks for one would make the bundle useless."""
    run = tmp_path / "run"
    shutil.copytree(toy_run, run, symlinks=True)
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("shortlist: 0", "shortlist: 30"))
    assert cli("export", run, tmp_path / "model.zip", "--to", "bundle").returncode == 0
    assert stdout_lines("translate", tmp_path / "model.zip") == stdout_lines("translate", toy_run)


def test_shortest_position_table_limits_an_ensemble(toy: Path, tmp_path: Path) -> None:
    """Also of the source: a line that only one member could read is translated in parts."""
    arguments = ["--src", toy / "train.en", "--tgt", toy / "train.de", "--max-steps", 2]
    arguments += [part for setting in TINY_RUN for part in ("--set", setting)]
    for name, longest in (("long", 64), ("short", 24)):
        positions = ["--set", "model.positions=learned", "--set", f"model.max_positions={longest}"]
        positions += ["--set", f"data.max_length={longest}"]
        done = cli("train", "--run", tmp_path / name, *arguments, *positions)
        assert done.returncode == 0, done.stderr.decode()
    sentence = b"The cat sees the house today. " * 4 + b"\n"
    options = ["--ensemble", tmp_path / "short", "--format", "jsonl"]
    done = cli("translate", tmp_path / "long", *options, stdin=sentence)
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout)["status"] == "split"


def test_check_invariance(toy_run: Path, toy: Path) -> None:
    done = cli("translate", toy_run, toy / "test.en", "--check-invariance")
    assert done.returncode == 0 and not done.stdout
    report = done.stderr.decode()
    assert "fp64, shuffled, batches of 1: 20 of 20 lines the same" in report
    assert "fp32, every second line alone: 10 of 10" in report


def test_score(toy_run: Path, toy: Path) -> None:
    done = cli("score", toy_run, "--src", toy / "test.en", "--tgt", toy / "test.de")
    numbers = [float(line) for line in done.stdout.decode().split()]
    assert len(numbers) == 20 and all(n < 0 for n in numbers) and b"20 pairs" in done.stderr
    shuffled = cli("score", toy_run, "--src", toy / "test.en", "--tgt", toy / "test.en").stdout.decode().split()
    assert sum(map(float, shuffled)) < 5 * sum(numbers)
    (first, *_) = objects("score", toy_run, "--src", toy / "test.en", "--tgt", toy / "test.de")
    assert len(first["pieces"]) == len(first["token_log_probs"]) and first["pieces"][-1] == "</s>"
    assert math.isclose(first["log_prob"], numbers[0], abs_tol=1e-4)


@pytest.mark.parametrize("kind", ["cross", "encoder", "decoder"])
def test_inspect(toy_run: Path, tmp_path: Path, kind: str) -> None:
    picture = tmp_path / "attention.png"
    translation, alignment = stdout_lines("inspect", toy_run, LINES[0], "-o", picture, "--kind", kind)
    assert translation.startswith("translation: ") and "-" in alignment
    assert picture.read_bytes().startswith(b"\x89PNG")
    forced = stdout_lines("inspect", toy_run, LINES[0], "-o", tmp_path / "a.svg", "--target", "Ein Hund.")
    assert forced[0] == "translation: Ein Hund."


USAGE_ERRORS: dict[str, tuple[int, str, Callable[[Path, Path], list[object]]]] = {
    "n-best beyond the beam": (2, "--beam 9", lambda run, tmp: ["translate", run, "--n-best", 9]),
    "n-best beyond any beam": (
        2, "--beam is at most 256", lambda run, tmp: ["translate", run, "--n-best", 100_000_000],
    ),
    "n-best beyond the groups": (
        2, "add --beam 6", lambda run, tmp: ["translate", run, "--beam", 4, "--diversity-groups", 2, "--n-best", 5],
    ),
    "a beam of samples": (
        2, "--sample and --beam cannot be combined", lambda run, tmp: ["translate", run, "--sample", "--beam", 5],
    ),
    "two ways of sampling": (
        2, "--sample and --mbr-samples cannot be combined",
        lambda run, tmp: ["translate", run, "--sample", "--mbr-samples", 4],
    ),
    "terms without a tab": (3, "line 1", lambda run, tmp: ["translate", run, "--terms", tmp / "words"]),
    "terms for greedy": (2, "needs beam", lambda run, tmp: ["translate", run, "--terms", tmp / "terms", "--beam", 1]),
    "no terms file": (3, "no such file", lambda run, tmp: ["translate", run, "--terms", tmp / "none"]),
    "terms to avoid": (
        3, "forbids", lambda run, tmp: ["translate", run, "--terms", tmp / "terms", "--avoid", tmp / "words"],
    ),
    "prefix too short": (3, "has 1 lines", lambda run, tmp: ["translate", run, "--prefix", tmp / "words"]),
    "term unsayable": (3, "not in the vocabulary", lambda run, tmp: ["translate", run, "--terms", tmp / "exotic"]),
    "prefix to avoid": (
        3, "which --avoid forbids", lambda run, tmp: ["translate", run, "--prefix", tmp / "starts", "--avoid", tmp / "words"],
    ),
    "terms in groups": (
        2, "cannot be combined", lambda run, tmp: ["translate", run, "--terms", tmp / "terms", "--diversity-groups", 5],
    ),
    "risk and coverage": (
        2, "cannot be combined", lambda run, tmp: ["translate", run, "--mbr-samples", 4, "--coverage-penalty", 1],
    ),
    "n-best beyond the samples": (
        2, "--mbr-samples 5", lambda run, tmp: ["translate", run, "--mbr-samples", 2, "--n-best", 5],
    ),
    "invariance of samples": (
        2, "line number",
        lambda run, tmp: ["translate", run, tmp / "words", "--check-invariance", "--sample"],
    ),
    "engine that cannot do it": (
        2, "the engine ctranslate2 does not support --terms",
        lambda run, tmp: ["translate", run, "--engine", "ctranslate2", "--terms", tmp / "terms"],
    ),
    "invariance of another engine": (
        2, "--engine", lambda run, tmp: ["translate", run, tmp / "words", "--check-invariance", "--engine", "auto"],
    ),
    "no shard": (2, "K/N", lambda run, tmp: ["translate", run, tmp / "words", "--shard", "0/4"]),
    "shard of stdin": (2, "needs INPUT to be a file", lambda run, tmp: ["translate", run, "--shard", "1/4"]),
    "invariance of a shard": (
        2, "cannot be combined",
        lambda run, tmp: ["translate", run, tmp / "words", "--check-invariance", "--shard", "1/1"],
    ),
    "output is a directory": (5, "is a directory", lambda run, tmp: ["translate", run, "-o", tmp]),
    "prefix unsayable": (3, "not in the vocabulary", lambda run, tmp: ["translate", run, "--prefix", tmp / "chinese"]),
    "groups": (2, "multiple", lambda run, tmp: ["translate", run, "--diversity-groups", 3]),
    "precision": (2, "precision", lambda run, tmp: ["translate", run, "--precision", "int3"]),
    "seed without sampling": (2, "--seed needs --sample", lambda run, tmp: ["translate", run, "--seed", 5]),
    "top k without sampling": (2, "--top-k needs --sample", lambda run, tmp: ["translate", run, "--top-k", 5]),
    "strength without groups": (2, "needs --diversity-groups",
        lambda run, tmp: ["translate", run, "--diversity-strength", 1]),
    "temperature": (2, "temperature", lambda run, tmp: ["translate", run, "--sample", "--temperature", 0]),
    "ensemble of another vocabulary": (
        4, "other vocabularies", lambda run, tmp: ["translate", run, "--ensemble", tmp / "other"],
    ),
    "ensemble with attention": (
        2, "need one model",
        lambda run, tmp: ["translate", run, "--ensemble", run, "--alignments", tmp / "links"],
    ),
    "ensemble of nothing": (4, "no such run", lambda run, tmp: ["translate", run, "--ensemble", tmp / "none"]),
    "invariance of stdin": (3, "INPUT", lambda run, tmp: ["translate", run, "--check-invariance"]),
    "inspect kind": (2, "known", lambda run, tmp: ["inspect", run, "A cat.", "--kind", "all", "-o", tmp / "x.png"]),
    "inspect form": (2, "unsupported image format", lambda run, tmp: ["inspect", run, "A cat.", "-o", tmp / "x.doc"]),
    "inspect nothing": (3, "blank", lambda run, tmp: ["inspect", run, " ", "-o", tmp / "x.png"]),
    "inspect too much": (3, "a plot shows at most", lambda run, tmp: ["inspect", run, "cat " * 200, "-o", tmp / "x.png"]),
    "score unequal": (3, "lines", lambda run, tmp: ["score", run, "--src", tmp / "words", "--tgt", tmp / "terms"]),
    "score format": (2, "jsonl", lambda run, tmp: ["score", run, "--src", "x", "--tgt", "y", "--format", "xml"]),
}  # fmt: skip


@pytest.mark.parametrize("name", USAGE_ERRORS)
def test_usage_errors(name: str, toy_run: Path, tmp_path: Path) -> None:
    (tmp_path / "words").write_text("Vogel\n")
    (tmp_path / "terms").write_text("cat\tder Vogel\nbird\tPferd\n")
    (tmp_path / "exotic").write_text("cat\t漢\n")
    (tmp_path / "starts").write_text("Vogel\n" * 4)
    (tmp_path / "chinese").write_text("漢\n漢\n漢\n漢\n")
    shutil.copytree(toy_run, tmp_path / "other", symlinks=True)
    if name == "ensemble of another vocabulary":
        _train_another(tmp_path)
    code, words, make = USAGE_ERRORS[name]
    done = cli(*make(toy_run, tmp_path), stdin=TEXT)
    assert done.returncode == code, done.stderr.decode()
    assert words in done.stderr.decode() and "Traceback" not in done.stderr.decode()


def _train_another(tmp: Path) -> None:
    from conftest import TINY_RUN, toy_pairs, write_pairs

    shutil.rmtree(tmp / "other")
    src, tgt = write_pairs(tmp, "small", toy_pairs(60, seed=9))
    settings = [part for setting in TINY_RUN for part in ("--set", setting)]
    sizes = ["--max-steps", 2, "--set", "tokenizer.vocab_size=70"]
    done = cli("train", "--run", tmp / "other", "--src", src, "--tgt", tgt, *settings, *sizes)
    assert done.returncode == 0, done.stderr.decode()
