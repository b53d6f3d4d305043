"""The work shared out among several threads.

On a CPU one batch on each core beats every core on one batch: the small products of a decoding step are over
before a second thread has woken up. torch leaves Python's lock while it computes, so threads are enough
and all share one copy of the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from itertools import islice
from typing import TypeVar

import torch

from transformer_cli.batch import split_by_budget

BATCHES_PER_TASK = 6
"""Batches that one worker searches together, at most."""
FEW = 8
"""Sentences that a batch must have before the work is split further for the sake of balance."""

Task = TypeVar("Task")
Result = TypeVar("Result")


def map_unordered(tasks: Sequence[Task], work: Callable[[Task], Result], threads: int) -> Iterator[Result]:
    """The result of each task as they get done; the work of each runs on one of `threads` threads.

    0 threads, or a single task for several: here and now, with torch's own threads. An error in one task ends
    the whole, and so does leaving early.
    """
    if not threads or len(tasks) <= 1 < threads:
        for task in tasks:
            yield work(task)
        return
    waiting = iter(tasks)
    pool = ThreadPoolExecutor(threads, initializer=_use_one_thread)
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
    """Sentences of these lengths, longest first -> shifts: up to `BATCHES_PER_TASK` batches that one worker does together.

    Batches (start, end) hold at most `budget` tokens, padding included, or a single sentence. Each worker gets as
    many batches and shifts, of about equal size and length, so that all end together; which ones depends on the
    lengths and on the number of workers, not on who is ready when. The shorter sentences of a shift come first.
    """
    least = len(split_by_budget(lengths, budget))
    count = max(least, min(-(-least // workers) * workers, len(lengths) // FEW))
    low, high = 1, budget
    while low < high:  # the smallest budget that needs no more than `count` batches
        middle = (low + high) // 2
        low, high = (low, middle) if len(split_by_budget(lengths, middle)) <= count else (middle + 1, high)
    batches = split_by_budget(lengths, high)
    shifts = -(-len(batches) // (workers * BATCHES_PER_TASK)) * workers
    return [batches[i::shifts][::-1] for i in range(min(shifts, len(batches)))]


def _use_one_thread() -> None:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
