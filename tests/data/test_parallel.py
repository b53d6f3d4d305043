from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from transformer_cli.data.parallel import MIN_TASKS, TASKS_AHEAD, native_threads, ordered_map
from transformer_cli.errors import DataError, UserError

linux = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux only")


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_results_are_in_order_and_tasks_are_read_as_needed(workers: int) -> None:
    read = []

    def tasks() -> Iterator[int]:
        for i in range(60):
            read.append(i)
            yield i

    def work(i: int) -> int:
        time.sleep(0.002 * (i % 3))
        return i * i

    results = ordered_map(work, tasks(), workers)
    assert next(results) == (0, 0)
    assert len(read) <= max(MIN_TASKS, TASKS_AHEAD * workers + 1)
    assert list(results) == [(i, i * i) for i in range(1, 60)]


@linux
def test_processes_are_used_and_have_one_native_thread_each() -> None:
    found = [result for _, result in ordered_map(lambda _: (os.getpid(), native_threads()), range(50), 2)]
    assert os.getpid() not in {pid for pid, _ in found} and {threads for _, threads in found} == {1}
    few = [result for _, result in ordered_map(lambda _: os.getpid(), range(MIN_TASKS - 1), 2)]
    assert set(few) == {os.getpid()}


def test_errors_of_the_user_arrive_with_their_hint() -> None:
    def work(i: int) -> int:
        if i == 7:
            raise DataError("bad", hint="mend it")
        return i

    with pytest.raises(DataError) as caught:
        list(ordered_map(work, range(20), 2))
    assert (caught.value.what, caught.value.hint) == ("bad", "mend it")


@linux
def test_a_killed_worker_is_an_error_and_not_a_hang() -> None:
    def work(i: int) -> int:
        if i == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return i

    with pytest.raises(UserError, match="worker process was killed"):
        list(ordered_map(work, range(20), 2))


@linux
def test_workers_end_with_their_parent() -> None:
    """Also if it is killed with SIGKILL, after which no code of the parent runs."""
    script = (
        "import os, time\nfrom transformer_cli.data.parallel import ordered_map\n"
        "def work(i):\n    os.write(1, b'%d\\n' % os.getpid())\n    time.sleep(60)\n"
        "list(ordered_map(work, range(9), 2))\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    workers = [int(parent.stdout.readline()) for _ in range(2)]
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 10
    while any(is_running(pid) for pid in workers):
        assert time.monotonic() < deadline, "workers outlive their parent"
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
