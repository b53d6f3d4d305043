from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from transformer_cli import durable
from transformer_cli.data import fingerprint
from transformer_cli.data.fingerprint import Fingerprint, contents, dump, parse, take_fingerprints, unchanged


def take(path: Path, known: list[Fingerprint] | None = None) -> list[Fingerprint]:
    found = take_fingerprints([path], known or [])
    assert found is not None
    return found


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that are hashed."""
    found: list[Path] = []
    original = durable.sha256_file

    def sha256_file(path: Path) -> str:
        found.append(path)
        return original(path)

    monkeypatch.setattr(durable, "sha256_file", sha256_file)
    return found


def settle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the files of the test be old."""
    monkeypatch.setattr(fingerprint, "SETTLED_SECONDS", -60.0)


def test_an_old_unchanged_file_is_hashed_once(
    tmp_path: Path, hashed: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_text("text")
    first = take(path)
    assert contents(take(path, first)) == contents(first) and len(hashed) == 2  # it has just been written
    settle(monkeypatch)
    old = parse(dump(take(path)))
    assert take(path, old) == old and len(hashed) == 3


def test_content_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle(monkeypatch)
    path, times = tmp_path / "a", (1e9, 1e9)
    path.write_text("one")
    os.utime(path, times)
    first = take(path)
    assert unchanged(first)
    os.utime(path, (2e9, 2e9))
    assert contents(take(path, first)) == contents(first) and not unchanged(first)
    # The same size and time of the content: the time of the status, which no program can set, tells.
    time.sleep(0.02)
    path.write_text("two")
    os.utime(path, times)
    assert contents(take(path, first)) != contents(first) and not unchanged(first)


def test_no_fingerprint_of_missing_files_and_pipes(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert take_fingerprints([tmp_path / "pipe"]) is None
    assert take_fingerprints([tmp_path / "missing"]) is None
    assert not unchanged([Fingerprint("missing", (1, 2, 3, 4), True, "")])


def test_a_file_that_changes_while_it_is_hashed_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.write_text("one")
    monkeypatch.setattr(durable, "sha256_file", lambda path: path.write_text("longer") and "hash")
    assert take_fingerprints([path]) is None


def test_unsettled_hashes_are_not_used_again(tmp_path: Path, hashed: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    settle(monkeypatch)
    path = tmp_path / "a"
    path.write_text("one")
    known = [replace(one, settled=False) for one in take(path)]
    take(path, known)
    assert len(hashed) == 2
