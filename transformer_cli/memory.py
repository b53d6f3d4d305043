"""Recovery from out-of-memory errors: split the batch, retry, and avoid the size that failed from then on."""

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
    """Whether the error means that torch, on any device, or Python ran out of memory."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in CPU_MESSAGES)


def peak_bytes(device: torch.device) -> int:
    """Return the peak memory in bytes: allocated by torch on CUDA, otherwise the resident size of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class SplitOnOutOfMemory:
    """Process batches and split those that do not fit into memory. A size that failed is not tried again.

    An instance may be used by several threads at the same time.
    """

    def __init__(self, notify: Callable[[int], object]) -> None:
        """`notify`: called with the new limit each time it is lowered."""
        self.notify = notify
        self.limit = sys.maxsize
        """Batches of this size or larger are split before they are tried."""

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
        """Return the result of `work` on the batches, split as needed.

        Args:
            work: processes all batches; called again with smaller batches after it has run out of
                memory.
            size: a measure of a batch's memory, such as its number of padded tokens.
            split: splits a batch into smaller parts; returns a single part if the batch cannot be
                split.
            recover: undoes the effects of a failed `work` and releases memory.
            too_large: creates the error for a batch that does not fit and cannot be split.

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
            # Outside of `except`, so that the error and the tensors that its traceback references are freed.
            recover()
            largest = max(parts, key=size)
            if len(split(largest)) < 2:
                raise too_large(largest)
            if size(largest) < self.limit:  # otherwise another thread has lowered the limit in the meantime
                self.limit = size(largest)
                self.notify(self.limit)

    def _split_to_limit(
        self, batches: Sequence[Batch], size: Callable[[Batch], int], split: Callable[[Batch], Sequence[Batch]]
    ) -> list[Batch]:
        """Split batches to sizes below the limit; a batch that cannot be split is returned as it is."""
        parts: list[Batch] = []
        for batch in batches:
            halves = split(batch) if size(batch) >= self.limit else [batch]
            parts += [batch] if len(halves) < 2 else self._split_to_limit(halves, size, split)
        return parts
