"""The commands as a user runs them: a run of seconds, and everything that people do wrong."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import CLI, ENVIRONMENT, TINY_RUN, cli, toy_pairs, tree, write_pairs

from transformer_cli.data.tokenizer import train_tokenizer
from transformer_cli.schema import TokenizerConfig

SETTINGS = [part for setting in TINY_RUN for part in ("--set", setting)]


def train_arguments(toy: Path, run: Path, *more: object) -> list[object]:
    return [
        "train", "--run", run, "--src", toy / "train.en", "--tgt", toy / "train.de",
        "--valid-src", toy / "valid.en", "--valid-tgt", toy / "valid.de", *SETTINGS, *more,
    ]  # fmt: skip


@pytest.fixture(scope="session")
def run(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run trained until it has learned the toy language."""
    directory = tmp_path_factory.mktemp("runs") / "toy"
    done = cli(*train_arguments(toy, directory, "--max-steps", 700, "--set", "training.validate_every=100"))
    assert done.returncode == 0, done.stderr.decode()
    return directory


def test_help_is_quick() -> None:
    best = 9.0
    for _ in range(3):
        began = time.perf_counter()
        done = cli("--help")
        best = min(best, time.perf_counter() - began)
        assert done.returncode == 0 and b"translate" in done.stdout
    assert best < 0.5
    assert cli("--version").stdout.startswith(b"transformer-cli ")


def test_run_directory_is_complete(run: Path) -> None:
    names = {str(p.relative_to(run)) for p in run.rglob("*")}
    assert {
        "config.yaml",
        "tokenizer.model",
        "metrics.jsonl",
        "curves.png",
        "checkpoints/best",
        "checkpoints/last",
    } <= names
    assert any(n.startswith("samples/") for n in names) and any(n.startswith("data/train") for n in names)
    assert (run / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_translate_returns_one_line_per_line(run: Path) -> None:
    pairs = toy_pairs(20, seed=3)
    sources = [s for s, _ in pairs]
    stdin = "\ufeff" + sources[0] + "\r\n\n  \n" + "\n".join(sources[1:])
    done = cli("translate", run, stdin=stdin.encode())
    assert done.returncode == 0, done.stderr.decode()
    lines = done.stdout.decode().split("\n")
    assert len(lines) == 23 and lines[-1] == "" and lines[1] == lines[2] == ""
    right = sum(a == b for a, (_, b) in zip([lines[0], *lines[3:-1]], pairs, strict=True))
    assert right >= 16


def test_translate_files_jsonl_and_locale(run: Path, toy: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.de"
    assert cli("translate", run, toy / "test.en", "-o", output, "--beam", 2).returncode == 0
    by_pipe = cli("translate", run, "--beam", 2, stdin=(toy / "test.en").read_bytes(), LANG="C", LC_ALL="C")
    assert by_pipe.stdout == output.read_bytes()
    jsonl = cli("translate", run, "--format", "jsonl", stdin=b"The cat sees the book now.\n\n")
    first, second = map(json.loads, jsonl.stdout.decode().strip().split("\n"))
    assert (first["status"], second["status"], second["translation"]) == ("ok", "empty", "")
    assert first["source"] == "The cat sees the book now." and first["score"] < 0


def test_hostile_text_keeps_line_count(run: Path) -> None:
    rng = random.Random(0)
    pieces = [b"the cat ", b"\r", b"\x00", b"\xff\xfe", "\u2028".encode(), "\x85".encode(), b"\xe2\x82", b" ", b"a" * 300,
              "😀漢".encode(), b"<s>", b"\t"]  # fmt: skip
    lines = [b"".join(rng.choices(pieces, k=rng.randrange(4))) for _ in range(400)]
    done = cli("translate", run, "--beam", 1, stdin=b"\n".join(lines) + b"\n")
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.count(b"\n") == 400 == len(done.stdout.decode().splitlines())
    assert b"not UTF-8" in done.stderr


def test_long_line_is_translated_in_segments(run: Path) -> None:
    line = " ".join(s for s, _ in toy_pairs(60))
    done = cli("translate", run, "--beam", 1, "--format", "jsonl", stdin=line.encode())
    answer = json.loads(done.stdout)
    assert answer["status"] == "split" and answer["translation"].count(".") >= 40
    assert b"split into segments" in done.stderr


def test_output_is_streamed_before_stdin_closes(run: Path) -> None:
    with subprocess.Popen(
        [*CLI, "translate", str(run)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ENVIRONMENT
    ) as p:
        assert p.stdin and p.stdout
        p.stdin.write(b"The cat sees the book now.\n")
        p.stdin.flush()
        assert p.stdout.readline().strip()
        p.stdin.close()


def test_closed_pipe_exits_quietly(run: Path) -> None:
    command = (
        f"yes 'The cat sees the book now.' | head -20000 | {' '.join(CLI)} translate {run} --beam 1 | head -1"
    )
    command += "; echo ${PIPESTATUS[2]} >&2"
    done = subprocess.run(["bash", "-c", command], capture_output=True, env=ENVIRONMENT, timeout=120)
    assert done.stdout.count(b"\n") == 1
    assert done.stderr.decode().strip().split("\n")[-1] == "0"
    assert b"Traceback" not in done.stderr and b"Broken" not in done.stderr


def test_evaluate_run_and_file_agree(run: Path, toy: Path) -> None:
    by_run = json.loads(cli("evaluate", run, "--src", toy / "test.en", "--ref", toy / "test.de", "--json").stdout)
    bleu = {s["name"]: s for s in by_run["scores"]}
    assert list(bleu) == ["BLEU", "chrF2", "chrF2++", "TER"]
    assert bleu["BLEU"]["value"] > 80 and "tok:13a" in bleu["BLEU"]["signature"]
    assert len(Path(by_run["hypotheses"]).read_text().strip().split("\n")) == 20
    by_file = cli("evaluate", "--hyp", by_run["hypotheses"], "--ref", toy / "test.de")
    assert f"BLEU {bleu['BLEU']['value']:.2f}".encode() in by_file.stdout


def test_evaluate_reports_repairs_and_accepts_multiple_references(run: Path, toy: Path, tmp_path: Path) -> None:
    (tmp_path / "hyp").write_bytes(b"\xff\n" * 20)
    done = cli("evaluate", "--hyp", tmp_path / "hyp", "--ref", toy / "test.de", "--ref", toy / "test.en")
    assert b"not UTF-8" in done.stderr and b"nrefs:2" in done.stdout
    (tmp_path / "hyp").write_bytes(b"\n" * 20)
    assert b"BLEU 0.00" in cli("evaluate", "--hyp", tmp_path / "hyp", "--ref", toy / "test.de").stdout
    options = [
        "--src",
        toy / "test.en",
        "--ref",
        toy / "test.de",
        "--checkpoint",
        "last",
        "--length-penalty",
        "0.5",
    ]
    assert cli("evaluate", run, *options).returncode == 0
    kept = json.loads((run / "evaluation/test.en.last.beam5.length_penalty0.5.json").read_text())
    assert kept["scores"][0]["name"] == "BLEU" and kept["references"] == [str(toy / "test.de")]


def test_evaluation_of_same_named_test_set_does_not_overwrite_results(
    run: Path, toy: Path, tmp_path: Path
) -> None:
    command = ("evaluate", run, "--beam", 2, "--json")
    (tmp_path / "other").mkdir()
    for side in ("en", "de"):
        (tmp_path / "other" / f"test.{side}").write_bytes((toy / f"test.{side}").read_bytes().partition(b"\n")[2])
    placed = []
    for folder in (toy, tmp_path / "other", toy, tmp_path / "other"):
        done = cli(*command, "--src", folder / "test.en", "--ref", folder / "test.de")
        placed.append(json.loads(done.stdout)["hypotheses"])
    assert placed[0].endswith("evaluation/test.en.beam2.txt")
    assert placed[0] == placed[2] != placed[1] == placed[3]
    assert len(Path(placed[0]).read_bytes().splitlines()) == len(Path(placed[1]).read_bytes().splitlines()) + 1


def test_average_writes_a_checkpoint(run: Path, toy: Path) -> None:
    assert cli("average", run).returncode == 0
    done = cli(
        "evaluate", run, "--checkpoint", "average", "--src", toy / "test.en", "--ref", toy / "test.de", "--json"
    )
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout)["checkpoint"] == "average"
    assert cli("average", run, "--last", 99).returncode == 4


def test_tokenizer_train_and_use(toy: Path, tmp_path: Path) -> None:
    model = tmp_path / "tok.model"
    done = cli("tokenizer", "train", "--input", toy / "train.en", toy / "train.de", "--vocab-size", 9000,
               "--model-type", "bpe", "--output", model)  # fmt: skip
    assert done.returncode == 0 and b"lowered from 9000" in done.stderr
    run = tmp_path / "run"
    done = cli(*train_arguments(toy, run, "--max-steps", 2, "--tokenizer", model))
    assert done.returncode == 0, done.stderr.decode()
    assert (run / "tokenizer.model").read_bytes() == model.read_bytes()


def test_separate_vocabularies(toy: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    more = ["--set", "tokenizer.joint=false", "--set", "model.tie_embeddings=decoder", "--max-steps", 2]
    assert cli(*train_arguments(toy, run, *more)).returncode == 0
    assert (run / "tokenizer.src.model").read_bytes() != (run / "tokenizer.tgt.model").read_bytes()
    assert cli("translate", run, stdin=b"The cat.\n").stdout.count(b"\n") == 1


def test_recipe_and_held_out_pairs(toy: Path, tmp_path: Path) -> None:
    done = cli(
        "train", "--run", tmp_path / "r", "--src", toy / "train.en", "--tgt", toy / "train.de", "--max-steps", 2
    )
    assert done.returncode == 0, done.stderr.decode()
    said = done.stderr.decode()
    assert "recipe for 300 pairs" in said and "model.preset tiny: " in said
    assert "15 pairs held out" in said and "vocabulary lowered" in said


def test_same_command_resumes(toy: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    first = cli(*train_arguments(toy, run, "--max-steps", 6))
    assert first.returncode == 0
    again = cli(*train_arguments(toy, run, "--max-steps", 9))
    assert again.returncode == 0 and b"resuming from step_000000006" in again.stderr
    assert os.readlink(run / "checkpoints/last") == "step_000000009"


def test_time_limit_is_kept_on_resume_until_it_is_removed(toy: Path, tmp_path: Path) -> None:
    run, limits = tmp_path / "run", []
    for steps, options in (
        (2, ["--max-minutes", 5]),
        (3, []),
        (4, ["--set", "training.max_minutes=null"]),
        (5, []),
    ):
        assert cli(*train_arguments(toy, run, "--max-steps", steps, *options)).returncode == 0
        limits.append(re.findall("max_minutes: (.*)", (run / "config.yaml").read_text())[0])
    assert limits[:2] == ["5.0", "5.0"] and limits[2] == limits[3] != "5.0", limits


def test_resuming_with_subword_sampling_is_exact(toy: Path, tmp_path: Path) -> None:
    settings = ["--set", "data.subword_sampling=0.3", "--set", "optim.schedule=constant", "--max-steps"]
    for run, steps in (("whole", 30), ("halves", 17), ("halves", 30)):
        done = cli(*train_arguments(toy, tmp_path / run, *settings, steps))
        assert done.returncode == 0, done.stderr.decode()
    assert b"resuming from step_000000017" in done.stderr
    first, second = (
        (tmp_path / run / "checkpoints/step_000000030/model.safetensors").read_bytes()
        for run in ("whole", "halves")
    )
    assert first == second
    assert (
        json.loads((tmp_path / "whole/checkpoints/step_000000030/state.json").read_text())["position"]["epoch"] > 0
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_saves_and_next_run_resumes(toy: Path, tmp_path: Path, number: signal.Signals) -> None:
    run = tmp_path / "run"
    arguments = [*CLI, *map(str, train_arguments(toy, run, "--max-steps", "100000"))]
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, env=ENVIRONMENT) as process:
        metrics = run / "metrics.jsonl"
        until = time.monotonic() + 60
        while not (metrics.exists() and metrics.stat().st_size) and time.monotonic() < until:
            time.sleep(0.05)
        process.send_signal(number)
        _, said = process.communicate(timeout=10)
    assert process.returncode == 128 + number
    last = os.readlink(run / "checkpoints/last")
    assert b"Traceback" not in said
    more = cli(*train_arguments(toy, run, "--max-steps", int(last[5:]) + 3))
    assert f"resuming from {last}".encode() in more.stderr and more.returncode == 0


def test_signal_before_training_exits_immediately(tmp_path: Path) -> None:
    """Also while the tokenizer learns, which Python knows nothing of."""
    words = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in "bdfgklmnprst"]
    rng = random.Random(1)
    src = tmp_path / "a"
    src.write_text("".join(" ".join(rng.choices(words, k=30)) + f" {i}\n" for i in range(20_000)))
    arguments = ["train", "--run", tmp_path / "run", "--src", src, "--tgt", src]
    with subprocess.Popen([*CLI, *map(str, arguments)], stderr=subprocess.PIPE, env=ENVIRONMENT) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if b"training the tokenizer" in line:
                break
        time.sleep(0.5)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert time.monotonic() - began < 2.0
    assert b"interrupted; training had not begun" in said and b"Traceback" not in said


def mistakes(toy: Path, run: Path, tmp: Path) -> dict[str, tuple[int, str, list[object]]]:
    """Name -> (exit code, words of the message, arguments)."""
    train, test = toy / "train.en", toy / "test.en"
    short, _ = write_pairs(tmp, "short", toy_pairs(3))
    (tmp / "empty").write_text("")
    (tmp / "blank").write_text("\n\n")
    (tmp / "latin1").write_bytes("Stra\xdfe\n".encode("latin1") * 300)
    (tmp / "foreign").mkdir()
    (tmp / "foreign/thesis.txt").write_text("mine")
    (tmp / "typo.yaml").write_text("model: {droput: 0.1}\n")
    (tmp / "broken.yaml").write_text("model: [1\n")
    (tmp / "junk.model").write_bytes(b"junk")
    (tmp / "terms").write_text("cat\tKater\n")
    new, ok = tmp / "new", train_arguments
    other, _ = train_tokenizer([s for s, _ in toy_pairs(50)], TokenizerConfig(vocab_size=60, byte_fallback=False))
    (tmp / "other.model").write_bytes(other.model)
    return {
        "missing source": (3, "no such file", ["train", "--run", new, "--src", tmp / "no.en", "--tgt", train]),
        "source is a directory": (3, "directory", ["train", "--run", new, "--src", tmp, "--tgt", train]),
        "unequal lines": (3, "300 lines", ["train", "--run", new, "--src", train, "--tgt", short]),
        "empty corpus": (3, "no sentence pair", ["train", "--run", new, "--src", tmp / "empty", "--tgt", tmp / "empty"]),
        "blank corpus": (3, "no sentence pair", ["train", "--run", new, "--src", tmp / "blank", "--tgt", tmp / "blank"]),
        "strict utf-8": (3, "line 1 is not UTF-8", ["train", "--run", new, "--src", tmp / "latin1", "--tgt", train, "--strict-utf8"]),
        "one validation file": (2, "must be given together", ["train", "--run", new, "--src", train, "--tgt", train, "--valid-src", test]),
        "two sources, one target": (3, "2 source files", ["train", "--run", new, "--src", train, "--src", train, "--tgt", train]),
        "missing config": (2, "no such configuration", ok(toy, new, tmp / "none.yaml")),
        "typo in config": (2, "did you mean 'model.dropout'", ok(toy, new, tmp / "typo.yaml")),
        "broken config": (2, "not valid YAML", ok(toy, new, tmp / "broken.yaml")),
        "typo in --set": (2, "did you mean 'optim.lr'", ok(toy, new, "--set", "optim.lrr=1")),
        "--set without value": (2, "expected KEY=VALUE", ok(toy, new, "--set", "optim.lr")),
        "--set without =": (2, "--set dropout: expected KEY=VALUE", ok(toy, new, "--set", "dropout", "0.3")),
        "range": (2, "model.dropout", ok(toy, new, "--set", "model.dropout=2")),
        "cross-field": (2, "num_heads", ok(toy, new, "--set", "model.num_heads=5")),
        "unknown architecture": (2, "did you mean 'transformer'", ok(toy, new, "--set", "model.encoder=transformr")),
        "negative steps": (2, "max_steps", ok(toy, new, "--max-steps", -1)),
        "steps in words": (2, "max-steps", ok(toy, new, "--max-steps", "many")),
        "unknown device": (2, "--device", ok(toy, new, "--device", "tpu")),
        "absent device": (2, "--device", ok(toy, new, "--device", "mps")),
        "vocabulary too small": (3, "vocab_size", ok(toy, new, "--set", "tokenizer.vocab_size=9")),
        "all pairs filtered": (3, "no pair is left", ok(toy, new, "--set", "data.max_length=4")),
        "foreign directory": (4, "holds files but no run", ok(toy, tmp / "foreign")),
        "run is a file": (4, "is a file", ok(toy, train)),
        "other tokenizer on resume": (4, "is not the tokenizer", [
            *ok(toy, run, "--max-steps", 700, "--set", "training.validate_every=100"), "--tokenizer", tmp / "other.model"]),
        "foreign tokenizer": (4, "not a SentencePiece", ok(toy, new, "--tokenizer", tmp / "junk.model")),
        "other model on resume": (2, "model.d_model: 32 in the run, 16 given", ok(toy, run, "--set", "model.d_model=16")),
        "other corpus on resume": (4, "different training text", ["train", "--run", run, "--src", test, "--tgt", toy / "test.de",
            "--valid-src", toy / "valid.en", "--valid-tgt", toy / "valid.de", *SETTINGS, "--max-steps", 700, "--set", "training.validate_every=100"]),
        "no command": (2, "no such command 'translat'. Did you mean 'translate'", ["translat"]),
        "missing option": (2, "--run", ["train", "--src", train, "--tgt", train]),
        "translate nothing there": (4, "no such run", ["translate", tmp / "none"]),
        "translate no run": (4, "not a run directory", ["translate", tmp / "foreign"]),
        "translate missing input": (3, "no such file", ["translate", run, tmp / "none.txt"]),
        "translate bad beam": (2, "beam", ["translate", run, test, "--beam", 0]),
        "translate bad format": (2, "choose text or jsonl", ["translate", run, test, "--format", "xml"]),
        "translate no checkpoint": (4, "step_000000700", ["translate", run, test, "--checkpoint", "step_9"]),
        "translate checkpoint elsewhere": (4, "no checkpoint", ["translate", run, test, "--checkpoint", "../.."]),
        "translate strict utf-8": (3, "not UTF-8", ["translate", run, tmp / "latin1", "--strict-utf8"]),
        "translate onto the source": (2, "is also read", ["translate", run, test, "-o", test]),
        "two outputs in one": (2, "is also read", ["translate", run, test, "-o", tmp / "o", "--alignments", tmp / "o"]),
        "evaluate onto the source": (2, "is also read", ["evaluate", run, "--src", test, "--ref", test, "-o", test]),
        "a tokenizer onto its text": (2, "is also read", ["tokenizer", "train", "--input", test, "--output", test]),
        "translate into nowhere": (5, "cannot be written", ["translate", run, test, "-o", tmp / "no/dir/out"]),
        "evaluate without reference": (2, "--ref", ["evaluate", run, "--src", test]),
        "evaluate run and file": (2, "--hyp", ["evaluate", run, "--hyp", test, "--ref", test]),
        "a checkpoint as a run": (4, "--checkpoint best", ["translate", run / "checkpoints/best"]),
        "a value for a section": (2, "is a section; set one of its keys, such as model.", ok(toy, new, "--set", "model=tiny")),
        "evaluate a file with a beam": (2, "--beam needs a run", ["evaluate", "--hyp", test, "--ref", test, "--beam", 5]),
        "evaluate unknown tokenization": (2, "'13a'", ["evaluate", "--hyp", test, "--ref", test, "--tokenize", "moses"]),
        "evaluate against nothing": (3, "no text to compare with", ["evaluate", "--hyp", tmp / "blank", "--ref", tmp / "blank"]),
        "evaluate unequal": (3, "20 lines", ["evaluate", "--hyp", test, "--ref", train]),
        "evaluate missing": (3, "no such file", ["evaluate", run, "--src", tmp / "none", "--ref", test]),
        "tokenizer of nothing": (3, "blank", ["tokenizer", "train", "--input", tmp / "blank", "--output", tmp / "t"]),
        "tokenizer type": (2, "model_type", ["tokenizer", "train", "--input", train, "--model-type", "wordpiece", "--output", tmp / "t"]),
        "tokenizer size": (2, "vocab_size", ["tokenizer", "train", "--input", train, "--vocab-size", 1, "--output", tmp / "t"]),
        "check unequal": (3, "first suspicious", ["check", "--src", train, "--tgt", short]),
        "translate more than the beam": (2, "--n-best 9 is more than --beam 5", ["translate", run, test, "--beam", 5, "--n-best", 9]),
        "translate terms without beam": (2, "--terms needs beam search", ["translate", run, test, "--beam", 1, "--terms", tmp / "terms"]),
        "translate shortlist and terms": (2, "--shortlist cannot be combined with --terms", ["translate", run, test, "--beam", 5, "--shortlist", 20, "--terms", tmp / "terms"]),
        "translate unknown precision": (2, "precision", ["translate", run, test, "--precision", "fp8"]),
        "translate too many prefixes": (3, "lines", ["translate", run, test, "--prefix", tmp / "terms"]),
        "inspect a blank sentence": (3, "nothing to draw", ["inspect", run, "  ", "-o", tmp / "a.png"]),
        "inspect unknown kind": (2, "--kind both: unknown", ["inspect", run, "The cat.", "-o", tmp / "a.png", "--kind", "both"]),
        "inspect unknown picture": (2, "unsupported image format", ["inspect", run, "The cat.", "-o", tmp / "a.txt"]),
        "export to the unknown": (2, "--to", ["export", run, tmp / "out", "--to", "onnxx"]),
        "export of nothing": (4, "no such run", ["export", tmp / "none", tmp / "out", "--to", "bundle"]),
        "score unequal": (3, "20 lines", ["score", run, "--src", test, "--tgt", train]),
        "config is a directory": (2, "directory", ok(toy, new, tmp)),
        "check half of against": (2, "must be given together", ["check", "--src", train, "--tgt", train, "--against-src", test]),
        "another tool's option": (2, "did you mean --src?", ["train", "--run", new, "--source", train, "--tgt", train]),
        "another tool's setting": (2, "did you mean --set optim.lr=RATE?", ok(toy, new, "--lr", 1e-3)),
        "an option misspelt": (2, "did you mean --length-penalty?", ["translate", run, test, "--lenght-penalty", 1]),
        "an option without value": (2, "requires an argument", ["translate", run, test, "--beam"]),
        "config of nothing": (2, "no such section or key", ["config", "model.widht"]),
    }  # fmt: skip


NAMES = [
    line.split('"')[1]
    for line in Path(__file__).read_text().split("\n")
    if line.startswith('        "') and '": (' in line
]


@pytest.mark.parametrize("name", NAMES)
def test_usage_errors(name: str, toy: Path, run: Path, tmp_path: Path) -> None:
    code, words, arguments = mistakes(toy, run, tmp_path)[name]
    before = tree(run), tree(tmp_path)
    done = cli(*arguments)
    said = done.stderr.decode()
    assert done.returncode == code, said
    assert words in said
    assert "Traceback" not in said and "defect" not in said
    assert tree(run) == before[0]
    after = tree(tmp_path)
    assert {name: after.get(name) for name in before[1]} == before[1]


def test_full_disk_on_stdout_exits_with_5(run: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*CLI, "translate", str(run)],
            input=b"The cat.\n",
            stdout=full,
            stderr=subprocess.PIPE,
            env=ENVIRONMENT,
        )
    assert done.returncode == 5 and b"No space left" in done.stderr and b"Exception" not in done.stderr


def test_output_may_be_a_device_or_symlink(run: Path, tmp_path: Path) -> None:
    assert cli("translate", run, "-o", "/dev/null", stdin=b"The cat.\n").returncode == 0
    assert not Path("/dev/null").is_file()
    (tmp_path / "link").symlink_to(tmp_path / "target")
    assert cli("translate", run, "-o", tmp_path / "link", stdin=b"The cat.\n").returncode == 0
    assert (tmp_path / "link").is_symlink() and (tmp_path / "target").read_bytes().count(b"\n") == 1


def test_dash_is_a_stream_and_dev_stdout_is_not_replaced(run: Path) -> None:
    sentence = b"The cat sees the house today.\n"
    expected = cli("translate", run, stdin=sentence).stdout
    assert expected.strip()
    assert cli("translate", run, "-", "-o", "-", stdin=sentence).stdout == expected
    assert cli("translate", run, "-o", "/dev/stdout", stdin=sentence).stdout == expected


def test_output_appends_to_dev_stdout(run: Path, tmp_path: Path) -> None:
    """`/dev/stdout` opened by name would begin the file anew."""
    (tmp_path / "log").write_bytes(b"before\n")
    command = f"{' '.join(CLI)} translate {run} -o /dev/stdout >> {tmp_path / 'log'}"
    subprocess.run(["bash", "-c", command], input=b"The cat sees the house today.\n", env=ENVIRONMENT, check=True)
    lines = (tmp_path / "log").read_bytes().split(b"\n")
    assert lines[0] == b"before" and len(lines) == 3


def test_output_does_not_replace_an_input(run: Path, tmp_path: Path) -> None:
    (tmp_path / "out.part").write_bytes(b"The cat sees the house today.\n")
    bundle = tmp_path / "model.zip"
    assert cli("export", run, bundle, "--to", "bundle").returncode == 0
    before = tree(tmp_path)
    for arguments in (
        ["translate", run, tmp_path / "out.part", "-o", tmp_path / "out"],
        ["translate", run, tmp_path / "out.part", "-o", bundle, "--ensemble", f"{bundle}@best"],
        ["translate", bundle, tmp_path / "out.part", "-o", bundle],
        ["translate", run, tmp_path / "out.part", "-o", tmp_path / "o", "--alignments", tmp_path / "o.part"],
        ["tokenizer", "train", "--input", tmp_path / "out.part", "--output", tmp_path / "out"],
    ):
        done = cli(*arguments)
        assert (done.returncode, b"is also read" in done.stderr) == (2, True), arguments
    same = f"{' '.join(CLI)} translate {run} -o {tmp_path}/out.part < {tmp_path}/out.part"
    assert subprocess.run(["bash", "-c", same], capture_output=True, env=ENVIRONMENT).returncode == 2
    assert tree(tmp_path) == before


def test_corpus_is_read_from_pipes(toy: Path, tmp_path: Path) -> None:
    command = f"{' '.join(CLI)} check --src <(cat {toy}/train.en) --tgt <(cat {toy}/train.de)"
    done = subprocess.run(["bash", "-c", command], capture_output=True, env=ENVIRONMENT)
    assert b"300 pairs" in done.stdout, done.stderr.decode()
    hyp = (toy / "test.de").read_bytes()
    refs = ["--ref", toy / "test.de", "--ref", toy / "test.de"]
    scored = cli("evaluate", "--hyp", "/dev/stdin", *refs, stdin=hyp, LANG="C")
    assert b"BLEU 100.00" in scored.stdout, scored.stderr.decode()


def test_signal_exits_although_stderr_is_closed(run: Path) -> None:
    """As in `translate ... 2>&1 | tee log`, where Ctrl-C ends `tee` as well."""
    reader, writer = os.pipe()
    with subprocess.Popen(
        [*CLI, "translate", str(run)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=writer,
        env=ENVIRONMENT,
    ) as process:
        assert process.stdin and process.stdout
        process.stdin.write(b"The cat sees the house today.\n")
        process.stdin.flush()
        assert process.stdout.readline()
        os.close(reader)
        os.close(writer)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == 130


def test_partial_output_is_kept_when_a_later_line_fails(run: Path, toy: Path, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"The cat sees the house today.\n" * 5000 + b"\xff\n")
    (tmp_path / "prefix").write_bytes(b"\n" * 4500)  # too few, which shows in the second chunk
    output = tmp_path / "out"
    done = cli("translate", run, tmp_path / "in", "-o", output, "--prefix", tmp_path / "prefix", "--beam", 1)
    assert done.returncode == 3
    assert not output.exists()
    assert (tmp_path / "out.part").read_bytes().count(b"\n") == 3840


def test_recipe_marks_overridden_keys(toy: Path, tmp_path: Path) -> None:
    files = ["--src", toy / "train.en", "--tgt", toy / "train.de"]
    small = ["--set", "model.d_model=32", "--set", "model.d_ff=32", "--max-steps", 1]
    done = cli("train", "--run", tmp_path / "run", *files, *small)
    assert b"training.max_steps 1: set on the command line" in done.stderr
    assert b"model.dropout 0.3: smaller" in done.stderr
    again = cli("train", "--run", tmp_path / "run", *files, *small[:4])
    assert b"had already ended at step 1" in again.stderr, again.stderr.decode()


def test_corrected_command_succeeds_after_a_failure(toy: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert cli(*train_arguments(toy, run, "--set", "data.max_length=4")).returncode == 3
    assert cli(*train_arguments(toy, run, "--set", "tokenizer.vocab_size=90", "--max-steps", 2)).returncode == 0


def test_damaged_checkpoints_are_left_unchanged(toy: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert cli(*train_arguments(toy, run, "--max-steps", 2)).returncode == 0
    (run / "checkpoints/last/model.safetensors").write_bytes(b"")
    before = tree(run)
    done = cli(*train_arguments(toy, run, "--max-steps", 4))
    assert done.returncode == 4 and b"no intact checkpoint" in done.stderr
    assert tree(run) == before


def test_check_reports(toy: Path, tmp_path: Path) -> None:
    done = cli("check", "--src", toy / "train.en", "--tgt", toy / "train.de", "--against-src", toy / "test.en",
               "--against-tgt", toy / "test.de", "--json")  # fmt: skip
    report = json.loads(done.stdout)
    assert report["pairs"] == 300 and any(f["kind"] == "repeated pairs" for f in report["findings"])
    text = cli("check", "--src", toy / "train.en", "--tgt", toy / "train.de")
    assert b"300 pairs" in text.stdout and b"repeated pairs" in text.stdout


def test_damaged_model_is_refused(run: Path, toy: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(run, copy, symlinks=True)
    best = copy / "checkpoints" / os.readlink(copy / "checkpoints/best") / "model.safetensors"
    content = bytearray(best.read_bytes())
    content[len(content) // 2] ^= 1
    best.write_bytes(content)
    done = cli("translate", copy, stdin=b"The cat.\n")
    assert done.returncode == 4 and b"SHA-256" in done.stderr and not done.stdout
    (copy / "tokenizer.model").write_bytes((run / "tokenizer.model").read_bytes() + b"\x00")
    assert cli("translate", copy, stdin=b"The cat.\n").returncode == 4


def test_ctrl_c_while_typer_is_imported_leaves_no_traceback() -> None:
    """The first tenth of a second of every command."""
    program = """
import builtins, os, signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
real = builtins.__import__
def watched(name, *rest, **more):
    if name == "typer":
        os.kill(os.getpid(), signal.SIGINT)
    return real(name, *rest, **more)
builtins.__import__ = watched
from transformer_cli.__main__ import main
main()
"""
    done = subprocess.run([sys.executable, "-c", program, "--help"], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, b"", b"")


def test_a_run_starts_from_another_one(toy: Path, run: Path, tmp_path: Path) -> None:
    before = tree(run)
    files = train_arguments(toy, tmp_path / "adapted", "--from", run, "--max-steps", 3)
    words = [word for word in files if word not in SETTINGS]
    done = cli(*words)
    assert done.returncode == 0, done.stderr.decode()
    assert f"starting from {run}" in done.stderr.decode() and "step 0: loss" in done.stderr.decode()
    assert tree(run) == before
    done = cli(*train_arguments(toy, tmp_path / "other", "--from", tmp_path / "missing"))
    assert done.returncode == 4 and b"missing" in done.stderr and not (tmp_path / "other").exists()
    done = cli(*words, "--set", "model.norm=post")
    assert done.returncode == 2 and b"another architecture: model.norm 'pre'" in done.stderr
