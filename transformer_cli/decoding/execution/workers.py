"""Distribution of batches over several threads.

On a CPU, one batch on each core is faster than all cores on one batch: the small matrix products of
a decoding step finish before a second thread has started. torch releases Python's global
interpreter lock while it computes, so threads are sufficient, and all of them share one copy of the
weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from itertools import islice
from typing import TypeVar

import torch

from transformer_cli.batch import split_by_budget

BATCHES_PER_TASK = 6
"""Maximum number of batches that one worker searches together."""
MIN_BATCH_SENTENCES = 8
"""Minimum mean number of sentences of a batch that is made smaller only to balance the work."""

Task = TypeVar("Task")
Result = TypeVar("Result")


def map_unordered(tasks: Sequence[Task], work: Callable[[Task], Result], threads: int) -> Iterator[Result]:
    """The result of each task, in the order of completion. Each task runs on one of `threads` threads.

    With 0 threads, or a single task for several threads, the work runs in the current thread with
    torch's own threads. An exception in a task, or closing the iterator early, cancels the tasks
    that have not started.
    """
    if not threads or len(tasks) <= 1 < threads:
        for task in tasks:
            yield work(task)
        return
    waiting = iter(tasks)
    pool = ThreadPoolExecutor(threads, initializer=use_one_thread)
    try:
        running = {pool.submit(work, task) for task in islice(waiting, threads)}
        while running:
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                running.remove(future)
                running.update(pool.submit(work, task) for task in islice(waiting, 1))
                yield future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def partition_batches(lengths: Sequence[int], budget: int, workers: int) -> list[list[tuple[int, int]]]:
    """Divide sentences of these lengths, longest first, into tasks of up to `BATCHES_PER_TASK` batches each.

    A batch (start, end) has at most `budget` tokens, padding included, or a single sentence. All
    workers get the same number of batches and tasks, of about equal size and length, so that they
    finish at the same time. The partition depends only on the arguments, not on the timing of the
    workers. Within a task shorter sentences come first.
    """
    min_batches = len(split_by_budget(lengths, budget))
    max_batches = max(min_batches, min(-(-min_batches // workers) * workers, len(lengths) // MIN_BATCH_SENTENCES))
    low, high = 1, budget
    while low < high:  # binary search for the smallest budget that needs at most `max_batches` batches
        middle = (low + high) // 2
        is_enough = len(split_by_budget(lengths, middle)) <= max_batches
        low, high = (low, middle) if is_enough else (middle + 1, high)
    batches = split_by_budget(lengths, high)
    num_tasks = -(-len(batches) // (workers * BATCHES_PER_TASK)) * workers
    return [batches[i::num_tasks][::-1] for i in range(min(num_tasks, len(batches)))]


def use_one_thread() -> None:
    """Let torch compute on the current thread alone."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
