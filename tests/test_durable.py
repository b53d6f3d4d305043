"""Fault injection: the N-th file operation fails, for every N, and the files are checked afterwards."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from conftest import Failing

from transformer_cli import durable
from transformer_cli.durable import FileOps
from transformer_cli.errors import ConfigError, DiskError


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EACCES])
def test_file_has_old_or_new_content_whichever_operation_fails(tmp_path: Path, code: int) -> None:
    path = tmp_path / "file"
    for n in range(1, 10):
        path.write_bytes(b"old")
        failing = Failing(n, code)
        try:
            durable.write_bytes(path, b"new content", failing.ops())
        except (DiskError, OSError):
            assert path.read_bytes() in (b"old", b"new content")
            assert n <= 4
        else:
            assert path.read_bytes() == b"new content"
            break
        assert [p.name for p in tmp_path.iterdir()] == ["file"]
    else:
        pytest.fail("the write never succeeded")


def test_order_of_operations(tmp_path: Path) -> None:
    """Content is synced before the rename, the directory after it."""
    failing = Failing(0)
    durable.write_bytes(tmp_path / "f", b"x", failing.ops())
    assert failing.log == ["write", "fsync", "replace", "fsync"]


def test_directory_is_written_completely_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "d"
    for n in range(1, 20):
        try:
            with durable.write_directory(path, Failing(n).ops()) as write:
                write("a", b"1")
                write("b", b"2")
        except (DiskError, OSError):
            if path.exists():  # only the sync of the parent directory failed
                assert sorted(p.name for p in path.iterdir()) == ["a", "b"]
                break
            assert not list(tmp_path.iterdir())
        else:
            pytest.fail("an injected fault was swallowed")
    assert (path / "a").read_bytes() == b"1"


def test_staged_directory_is_synced_and_written_completely_or_not_at_all(tmp_path: Path) -> None:
    log: list[str] = []
    for n in range(1, 9):
        path, failing = tmp_path / str(n) / "d", Failing(n)
        try:
            with durable.staged_directory(path, failing.ops()) as directory:
                (directory / "a").write_bytes(b"1")
                (directory / "b").write_bytes(b"2")
        except (DiskError, OSError):
            assert path.exists() == (n == 5) and [p for p in path.parent.iterdir() if p != path] == []
        else:
            log = failing.log
            assert sorted(p.name for p in path.iterdir()) == ["a", "b"]
    assert log == ["fsync", "fsync", "fsync", "replace", "fsync"]


def test_short_writes_are_continued(tmp_path: Path) -> None:
    ops = FileOps(write=lambda fd, data: os.write(fd, data[:3]))
    durable.write_bytes(tmp_path / "f", b"0123456789", ops)
    assert (tmp_path / "f").read_bytes() == b"0123456789"


def test_disk_error_names_path_and_bytes(tmp_path: Path) -> None:
    with pytest.raises(DiskError) as caught:
        durable.write_bytes(tmp_path / "f", b"x" * 1234, Failing(1).ops())
    assert str(tmp_path / "f") in str(caught.value) and "1,234 bytes" in str(caught.value)
    assert caught.value.exit_code == 5


def test_set_symlink_replaces_a_link(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        durable.set_symlink(tmp_path / "best", name)
        assert (tmp_path / "best").readlink() == Path(name)


def test_output_gets_its_name_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "new" / "out.txt"
    path.parent.mkdir()
    path.write_bytes(b"old")
    path.chmod(0o640)
    with durable.open_output(path) as output:
        output.write(b"a\n")
        assert path.read_bytes() == b"old"
        assert durable.partial_path(path).read_bytes() == b"a\n"
        output.write(b"b\n")
    assert path.read_bytes() == b"a\nb\n"
    assert path.stat().st_mode & 0o777 == 0o640
    with pytest.raises(RuntimeError), durable.open_output(path) as output:
        output.write(b"c\n")
        raise RuntimeError
    assert path.read_bytes() == b"a\nb\n"
    assert durable.partial_path(path).read_bytes() == b"c\n"


def test_empty_output_creates_a_file(tmp_path: Path) -> None:
    with durable.open_output(tmp_path / "deep" / "out"):
        pass
    assert (tmp_path / "deep" / "out").read_bytes() == b""
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["out"]


def test_replacing_a_file_keeps_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"1")
    path.chmod(0o600)
    durable.write_bytes(path, b"2")
    assert path.stat().st_mode & 0o777 == 0o600


def test_check_writable_accepts_new_files_and_existing_streams(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (None, tmp_path / "file", tmp_path / "new", Path("/dev/null"), Path("/dev/stdout")):
        durable.check_writable(path, None, tmp_path / "input")
    durable.check_writable(tmp_path / "a" / "b" / "new", create_parents=True)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_check_writable_rejects_other_files_of_the_command(tmp_path: Path) -> None:
    path, other = tmp_path / "out", tmp_path / "out.part"
    (tmp_path / "link").symlink_to(path)
    for same in (path, other, tmp_path / "link", tmp_path / "x" / ".." / "out"):
        with pytest.raises(ConfigError, match="out: is also read or written"):
            durable.check_writable(path, None, same)


def test_check_writable_rejects_directories_and_missing_parents(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DiskError, match="is a directory"):
        durable.check_writable(tmp_path)
    with pytest.raises(DiskError, match="no such directory"):
        durable.check_writable(tmp_path / "a" / "new")
    with pytest.raises(DiskError, match="no such directory"):
        durable.check_writable(tmp_path / "file" / "new", create_parents=True)
