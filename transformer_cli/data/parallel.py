"""Work on parts of a corpus in several processes, with results in order.

The processes are forks: they share the text, the tokenizers and the filters, and nothing but tasks and results is
copied. They never use torch, whose threads do not survive a fork. Where fork is not available or not safe (Windows,
macOS), the work is done in this process.
"""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, islice
from typing import Any, TypeVar

from transformer_cli.errors import UserError

Task = TypeVar("Task")
Result = TypeVar("Result")

MIN_TASKS = 3
"""Number of tasks from which processes are worth their start."""
TASKS_AHEAD = 3
"""Tasks per process that are submitted before their results are needed; they bound the memory."""
PR_SET_PDEATHSIG = 1

_function: Callable[[Any], Any]
"""What the processes compute; set before they are forked, because a function with its data cannot be sent."""
_is_worker = False


def available_cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def native_threads() -> int:
    """Number of threads for native code: all cores, but one in a worker process, which is one of many."""
    return 1 if _is_worker else available_cores()


def ordered_map(
    function: Callable[[Task], Result], tasks: Iterable[Task], workers: int | None = None
) -> Iterator[tuple[Task, Result]]:
    """Each task with the result of `function`, in the order of the tasks, which are read as they are needed.

    Args:
        function: a pure function; it may not use torch.
        workers: number of processes; 1 = none but this one, None = all cores.

    Raises:
        UserError: a process was killed, usually because there was not enough memory. Exceptions of `function`.
    """
    workers = available_cores() if workers is None else workers
    pending = iter(tasks)
    first = list(islice(pending, MIN_TASKS))
    pending = chain(first, pending)
    if workers < 2 or len(first) < MIN_TASKS or sys.platform != "linux":
        for task in pending:
            yield task, function(task)
        return
    global _function
    _function = function
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("fork"), _begin, (os.getpid(),))
    submitted: deque[tuple[Task, Future[Result]]] = deque()
    try:
        for task in pending:
            submitted.append((task, pool.submit(_call, task)))
            if len(submitted) >= TASKS_AHEAD * workers:
                done, future = submitted.popleft()
                yield done, future.result()
        while submitted:
            done, future = submitted.popleft()
            yield done, future.result()
    except BrokenProcessPool:
        raise UserError(
            "a worker process was killed; there is probably not enough memory",
            hint="free some memory, or use fewer cores: taskset -c 0 transformer-cli ...",
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin(parent: int) -> None:
    """Leave signals to the parent, and end with it, however it ends."""
    global _is_worker
    _is_worker = True
    gc.disable()  # a collection would visit, and so copy, all memory that is shared with the parent
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the line above
        os._exit(1)


def _call(task: Any) -> Any:
    return _function(task)
