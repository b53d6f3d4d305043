"""When a batch does not fit into memory: the same gradient from its halves."""

from __future__ import annotations

import resource
import sys
from collections.abc import Sequence

import torch

from transformer_cli.batch import BatchPlan
from transformer_cli.errors import UserError


def peak_bytes(device: torch.device) -> int:
    """The most memory so far: of torch on a CUDA device, else of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class Fitting:
    """Cuts batches into parts that fit. A size that has not fitted once is not tried again."""

    def __init__(self) -> None:
        self.limit = sys.maxsize
        """Sizes from this one on do not fit."""

    def parts(self, batches: Sequence[BatchPlan]) -> list[BatchPlan]:
        """The same sentences, in batches below the limit; a single pair stays whole."""
        parts: list[BatchPlan] = []
        for pairs in batches:
            if pairs.padded_tokens < self.limit or len(pairs) == 1:
                parts.append(pairs)
            else:
                parts += self.parts(pairs.split())
        return parts

    def refuse(self, batches: Sequence[BatchPlan]) -> str:
        """One of these did not fit, so the largest is too large; returns what to say about it.

        Raises:
            UserError: it is a single pair.
        """
        largest = max(batches, key=lambda pairs: pairs.padded_tokens)
        if len(largest) == 1:
            raise UserError(
                f"out of memory on a single pair of {largest.padded_tokens - largest.tokens} source and {largest.tokens} "
                "target tokens",
                hint="lower data.max_length, or choose a smaller model.preset; the last checkpoint is kept",
            )
        self.limit = largest.padded_tokens
        return (
            f"out of memory on a batch of {self.limit:,} tokens with padding: batches of this size are computed "
            "in parts from now on, slower and with the same gradient; a lower data.batch_tokens fits at once"
        )
