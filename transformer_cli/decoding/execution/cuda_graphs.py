"""CUDA graphs of a step on buffers of fixed shape, and a pool of such graphs, one per shape."""

from __future__ import annotations

import math
import sys
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from transformer_cli.runtime import capture_graph
from transformer_cli.tree import tree_copy_, tree_leaves, tree_map

MAX_BUCKETS = 48
"""Maximum number of buckets whose tensors and graphs are kept."""
MEMORY_SHARE = 4
"""The buckets in the pool use at most 1 / 4 of the free memory, except that the current one is always kept."""

Buffers = TypeVar("Buffers")
"""A tree of tensors, see `tree`."""


class GraphBucket(Generic[Buffers]):
    """The buffers of one shape, and a step that updates them in place, with its CUDA graph once captured."""

    def __init__(self, step: Callable[[Buffers], Buffers], buffers: Buffers) -> None:
        """`step`: computes the next values of the buffers, of the same shapes. `buffers`: copied."""
        self.step = step
        self.buffers = tree_map(buffers, torch.clone)
        self.num_bytes = sum(x.nbytes for x in tree_leaves(self.buffers))
        self.graph: torch.cuda.CUDAGraph | None = None
        self.calls = 0

    def __call__(self) -> None:
        """Run the step, by its graph if there is one."""
        self.calls += 1
        if self.graph is not None:
            self.graph.replay()
        else:
            self.run_eager()

    def run_eager(self) -> None:
        """Run the step operation by operation."""
        tree_copy_(self.buffers, self.step(self.buffers))


class GraphPool:
    """The buckets of one model, created on first use.

    The first step in a bucket runs eagerly, so that libraries select their kernels; the second one
    is captured.
    """

    def __init__(self, use_graphs: bool = True) -> None:
        """`use_graphs`: use CUDA graphs. False runs every step eagerly, on any device."""
        self.use_graphs = use_graphs
        self.buckets: OrderedDict[Any, GraphBucket[Any]] = OrderedDict()
        self.memory_pool = torch.cuda.graph_pool_handle() if use_graphs else None
        self.max_bytes = torch.cuda.mem_get_info()[0] // MEMORY_SHARE if use_graphs else math.inf

    def enter(self, step: Callable[[Buffers], Buffers], buffers: Buffers) -> GraphBucket[Buffers]:
        """The bucket for this step and the shapes of these buffers, with their values copied into it.

        `step` must be hashable; equal steps share buckets.
        """
        key = (step, *((x.shape, x.dtype) for x in tree_leaves(buffers)))
        bucket = self.buckets.get(key)
        if bucket is None:
            bucket = self.buckets[key] = GraphBucket(step, buffers)
            self._evict()
            return bucket
        self.buckets.move_to_end(key)
        tree_copy_(bucket.buffers, buffers)
        return bucket

    def run(self, bucket: GraphBucket[Any]) -> None:
        """Run one step of the bucket. If its graph cannot be captured, print a warning and run eagerly."""
        if self.use_graphs and bucket.graph is None and bucket.calls:
            # Graphs share one memory pool: its contents are not used after a step, and steps do not overlap.
            bucket.graph, reason = capture_graph(bucket.run_eager, self.memory_pool)
            if bucket.graph is None:
                self.use_graphs = False
                print(
                    f"warning: the search step cannot be captured as a CUDA graph and runs slower: {reason}",
                    file=sys.stderr,
                )
        bucket()

    def clear(self) -> None:
        """Release all memory. Buckets are created again when they are needed."""
        self.buckets.clear()

    def _evict(self) -> None:
        """Remove the least recently used buckets until the limits are met."""
        total = sum(bucket.num_bytes for bucket in self.buckets.values())
        while len(self.buckets) > 1 and (len(self.buckets) > MAX_BUCKETS or total > self.max_bytes):
            total -= self.buckets.popitem(last=False)[1].num_bytes


class AsyncResult:
    """A copy of a tensor to the host that runs in the background, without making the device wait."""

    def __init__(self, tensor: Tensor) -> None:
        """Start the copy."""
        self.copied: torch.cuda.Event | None = None
        if tensor.is_cuda:
            self.values = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
            self.values.copy_(tensor, non_blocking=True)
            self.copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self.copied.record()
        else:
            self.values = tensor.clone()

    def read(self) -> list[Any]:
        """Wait for the copy to finish and return the values."""
        if self.copied is not None:
            self.copied.synchronize()
        values: list[Any] = self.values.tolist()
        return values


def bucket_size(count: int, min_size: int) -> int:
    """The smallest `min_size · 2ⁿ` that is at least `count`."""
    size = min_size
    while size < count:
        size *= 2
    return size
