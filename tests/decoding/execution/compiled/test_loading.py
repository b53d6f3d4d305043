"""The cache of compiled functions: private, found again, and safe when two processes start at once."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from transformer_cli.decoding.execution.compiled.loading import cache_directory, is_compiled, mark_compiled


@pytest.fixture(autouse=True)
def directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))


def test_it_is_in_the_users_cache_and_private(tmp_path: Path) -> None:
    directory = cache_directory()
    assert directory is not None and directory.parent == tmp_path / "home/transformer-cli"
    assert directory.stat().st_mode & 0o077 == directory.parent.stat().st_mode & 0o077 == 0
    assert cache_directory() == directory


def test_without_a_home_it_is_temporary(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("not a directory")
    directory = cache_directory()
    assert directory is not None and directory.parent.parent == tmp_path / "tmp"


@pytest.mark.parametrize("attack", ["writable", "link"])
def test_a_directory_that_others_can_write_to_is_not_used(tmp_path: Path, attack: str) -> None:
    """Others could place code in it."""
    first = cache_directory()
    assert first is not None
    if attack == "writable":
        first.chmod(0o777)
    else:
        first.rename(tmp_path / "elsewhere")
        first.symlink_to(tmp_path / "elsewhere")
    second = cache_directory()
    assert second is not None and second.parent.parent == tmp_path / "tmp"
    second.parent.chmod(0o777)
    assert cache_directory() is None


def test_compiled_functions_are_remembered_one_by_one() -> None:
    directory = cache_directory()
    assert directory is not None and not is_compiled(directory, "greedy")
    mark_compiled(directory, "greedy")
    assert is_compiled(directory, "greedy") and not is_compiled(directory, "beam")


PROGRAM = """
import sys
from pathlib import Path
from transformer_cli.decoding.execution.compiled.loading import load_search
load_search(Path(sys.argv[1]))
from transformer_cli.decoding.execution.compiled.beam import allocate_beams, allocate_finished, trace_back
beams, finished = allocate_beams(1, 2, 5), allocate_finished(1, 2, 5)
finished.lengths[0, 0], finished.log_probs[0, 0] = 3, -4.0
beams.scores[0, :2] = [[-1.0, -1.5], [-2.0, -2.5]]
trace_back(beams, 0, 0, 0, finished)
assert finished.token_log_probs[0, 0].tolist() == [-1.0, -1.0, -2.0, 0.0, 0.0]
print(sum(trace_back.stats.cache_hits.values()))
"""


def test_two_processes_may_compile_at_once(tmp_path: Path) -> None:
    pytest.importorskip("numba")
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    assert subprocess.check_output(command, text=True).strip() == "1"  # from the cache
