"""What to do when a batch does not fit into memory: split it, retry, and remember the size that failed."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from transformer_cli.errors import UserError

CPU_MESSAGES = ("can't allocate memory", "not enough memory")
"""Messages of torch's CPU allocator, which raises a plain RuntimeError."""

Batch = TypeVar("Batch")
Result = TypeVar("Result")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch, on any device, or Python ran out of memory."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in CPU_MESSAGES)


def peak_bytes(device: torch.device) -> int:
    """The peak memory in bytes: torch's allocations on a CUDA device, else the resident size of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class SplitOnOutOfMemory:
    """Runs batches and splits those that do not fit into memory. A size that failed once is not tried again.

    The limit may be shared by several threads that run at the same time.
    """

    def __init__(self, notify: Callable[[int], object]) -> None:
        """`notify`: called with the new limit each time it is lowered."""
        self.notify = notify
        self.limit = sys.maxsize
        """Batches of this size or more do not fit."""

    def __call__(
        self,
        batches: Sequence[Batch],
        work: Callable[[list[Batch]], Result],
        *,
        size: Callable[[Batch], int],
        split: Callable[[Batch], Sequence[Batch]],
        recover: Callable[[], object],
        too_large: Callable[[Batch], UserError],
    ) -> Result:
        """The result of `work` on the batches, or on parts of them.

        Args:
            work: computes all batches; called again, with smaller ones, after it has run out of memory.
            size: what the memory of a batch grows with, such as its tokens with padding.
            split: a batch -> its parts, each smaller; a single part if the batch cannot be split.
            recover: undoes what a failed `work` has done and releases memory.
            too_large: the error for a batch that cannot be split and does not fit.

        Raises:
            UserError: from `too_large`.
        """
        while True:
            parts = self._split_to_limit(batches, size, split)
            try:
                return work(parts)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            # Outside of `except`: the error is gone by now, and so are the tensors that its traceback held.
            recover()
            largest = max(parts, key=size)
            if len(split(largest)) < 2:
                raise too_large(largest)
            if size(largest) < self.limit:  # else another thread has lowered the limit meanwhile
                self.limit = size(largest)
                self.notify(self.limit)

    def _split_to_limit(
        self, batches: Sequence[Batch], size: Callable[[Batch], int], split: Callable[[Batch], Sequence[Batch]]
    ) -> list[Batch]:
        """The same content in batches below the limit; a batch that cannot be split stays as it is."""
        parts: list[Batch] = []
        for batch in batches:
            halves = split(batch) if size(batch) >= self.limit else [batch]
            parts += [batch] if len(halves) < 2 else self._split_to_limit(halves, size, split)
        return parts
