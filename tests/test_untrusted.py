"""A malicious run directory (symlinks, FIFOs, devices, YAML alias bombs) is refused quickly; nothing else changes."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest
from conftest import TINY_RUN, cli, tree
from hostile_files import directory, endless, fifo, link

from transformer_cli.config import parse_config
from transformer_cli.errors import ConfigError
from transformer_cli.untrusted import read_bounded, require_regular

SECONDS = 20.0
"""Far above what a refusal takes, far below what reading a device would."""


KINDS = [fifo, endless, link, directory]


@pytest.mark.parametrize("make", KINDS, ids=lambda kind: kind.__name__)
def test_only_regular_files_are_read(make: object, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"secret")
    make(tmp_path / "file", outside)  # type: ignore[operator]
    for read in (lambda p: read_bounded(p, 100), require_regular):
        with pytest.raises(OSError) as caught:
            read(tmp_path / "file")
        assert caught.value.strerror


def test_sizes_are_bounded(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 100)
    assert len(read_bounded(tmp_path / "file", 100)) == 100
    with pytest.raises(OSError, match="larger than 99 bytes"):
        read_bounded(tmp_path / "file", 99)
    require_regular(tmp_path / "file")


@pytest.fixture
def victim(toy_run: Path, tmp_path: Path) -> Path:
    """A run directory to be spoiled."""
    return Path(shutil.copytree(toy_run, tmp_path / "run", symlinks=True))


FILES = [
    "config.yaml",
    "tokenizer.model",
    "checkpoints/best/MANIFEST.json",
    "checkpoints/best/model.safetensors",
    "checkpoints/best/state.json",
]


@pytest.mark.parametrize("make", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("name", FILES)
def test_translate_refuses_what_is_no_regular_file(name: str, make: object, victim: Path, tmp_path: Path) -> None:
    file = (victim / name).parent.resolve() / Path(name).name
    outside = tmp_path / "outside"
    file.rename(outside)  # a link leads to the right content: only that it is a link is wrong
    make(file, outside)  # type: ignore[operator]
    start = time.monotonic()
    done = cli("translate", victim, stdin=b"The cat.\n")
    assert time.monotonic() - start < SECONDS
    assert done.returncode == 4 and done.stdout == b"", done.stderr
    assert b"Traceback" not in done.stderr and b"defect" not in done.stderr


TRAINED = ["metrics.jsonl", "data/train.STORE.json", "data/train.src.tokens.npy", "tokenizer.model", ".lock"]


@pytest.mark.parametrize("make", [fifo, endless, link], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("name", TRAINED)
def test_a_resumed_training_refuses_it_or_replaces_it(
    name: str, make: object, victim: Path, toy: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    (victim / name).rename(outside)
    make(victim / name, outside)  # type: ignore[operator]
    before = outside.read_bytes()
    start = time.monotonic()
    settings = [part for setting in TINY_RUN for part in ("--set", setting)]
    done = cli(
        "train", "--run", victim, "--src", toy / "train.en", "--tgt", toy / "train.de",
        "--valid-src", toy / "valid.en", "--valid-tgt", toy / "valid.de", "--device", "cpu", *settings,
        "--set", "training.validate_every=250", "--set", "training.save_every=250", "--max-steps", 501,
    )  # fmt: skip
    assert time.monotonic() - start < 3 * SECONDS
    assert done.returncode in (0, 4, 5), done.stderr
    assert b"Traceback" not in done.stderr and b"defect" not in done.stderr
    assert outside.read_bytes() == before


@pytest.mark.parametrize("name", ["samples", "data", "checkpoints", "evaluation"])
def test_a_directory_that_is_a_link_is_refused_and_nothing_there_changes(
    name: str, victim: Path, toy: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    if (victim / name).exists():
        (victim / name).rename(outside)
    else:
        outside.mkdir()
    (outside / ".precious.tmp").write_text("mine")
    (victim / name).symlink_to(outside)
    before = tree(outside)
    settings = [part for setting in TINY_RUN for part in ("--set", setting)]
    trained = cli(
        "train", "--run", victim, "--src", toy / "train.en", "--tgt", toy / "train.de",
        "--valid-src", toy / "valid.en", "--valid-tgt", toy / "valid.de", *settings, "--max-steps", 600,
    )  # fmt: skip
    evaluated = cli("evaluate", victim, "--src", toy / "test.en", "--ref", toy / "test.de")
    for done in (trained, evaluated):
        assert done.returncode == 4 and b"is a link" in done.stderr, done.stderr
    assert tree(outside) == before


def test_a_manifest_that_lists_nothing_verifies_nothing(victim: Path, tmp_path: Path) -> None:
    checkpoint = (victim / "checkpoints/best").resolve()
    manifest = json.loads((checkpoint / "MANIFEST.json").read_text())
    for files in ({}, {"state.json": manifest["files"]["state.json"]}):
        (checkpoint / "MANIFEST.json").write_text(json.dumps({**manifest, "files": files}))
        done = cli("translate", victim, stdin=b"The cat.\n")
        assert done.returncode == 4 and b"MANIFEST.json is damaged" in done.stderr


def test_a_checkpoint_outside_of_the_run_is_refused(victim: Path, tmp_path: Path) -> None:
    outside = tmp_path / "step_000000001"
    shutil.copytree((victim / "checkpoints/best").resolve(), outside)
    (victim / "checkpoints/best").unlink()
    (victim / "checkpoints/best").symlink_to(outside)
    done = cli("translate", victim, stdin=b"The cat.\n")
    assert done.returncode == 4 and b"outside of the run" in done.stderr


def test_yaml_that_multiplies_is_refused_at_once() -> None:
    start = time.monotonic()
    merges = ["a0: &a0 {x: 1}", *(f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 4)}]}}" for i in range(1, 200))]
    lists = ["b0: &b0 [x, x]", *(f"b{i}: &b{i} [{', '.join([f'*b{i - 1}'] * 9)}]" for i in range(1, 100))]
    for text in ("\n".join(merges), "\n".join(lists), "a: &a [*a]", "x: [" + "1," * 20_000 + "]"):
        with pytest.raises(ConfigError, match="more than 10,000 values"):
            parse_config(text, "config.yaml")
    assert time.monotonic() - start < SECONDS
    assert parse_config("model: &m {dropout: 0.2}\n", "config.yaml").model.dropout == 0.2
