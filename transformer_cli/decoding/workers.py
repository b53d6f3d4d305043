"""Batches on several threads.

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

Batch = TypeVar("Batch")
Result = TypeVar("Result")


def each_batch(
    batches: Sequence[Batch], work: Callable[[Batch], Result], threads: int
) -> Iterator[tuple[Batch, Result]]:
    """(batch, its result) as they get done; the work of each batch runs on one of `threads` threads.

    0 threads, or a single batch: here and now, with torch's own threads. An error in one batch ends the
    whole, and so does leaving early.
    """
    if not threads or len(batches) <= 1:
        for batch in batches:
            yield batch, work(batch)
        return
    waiting = iter(batches)
    pool = ThreadPoolExecutor(threads, initializer=_alone)
    try:
        running = {pool.submit(work, batch): batch for batch in islice(waiting, threads)}
        while running:
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                batch = running.pop(future)
                if (following := next(waiting, None)) is not None:
                    running[pool.submit(work, following)] = following
                yield batch, future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _alone() -> None:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
