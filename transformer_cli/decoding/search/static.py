"""Beam search whose tensors keep their shape and place: on CUDA one captured graph does the whole of a step.

A step of a small model is some hundred kernels, each of which is over before the host has launched the next. A
graph launches all of them at once: the model, the choice among the continuations, and the books about what has
ended. So each sentence has a slot, which it keeps when it has finished. The host looks every few positions, and at
what was so a few positions before, so that the device never waits. When half of the slots are done, or the room
for positions is full, the hypotheses move on to a bucket of another shape, which has a graph of its own.

Without CUDA the same operations run one by one: the twin that the tests compare with `BeamSearch`.
"""

from __future__ import annotations

import math
import sys
from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from transformer_cli.batch import EOS
from transformer_cli.decoding.search.base import LOWEST_SCORE, Hypothesis, Scorer, Search, StepModel
from transformer_cli.decoding.search.static_step import (
    BeamBuffers,
    FinishedBuffers,
    StaticStep,
    initial_buffers,
    select_rows,
)
from transformer_cli.runtime import capture_graph
from transformer_cli.tree import tree_copy_, tree_leaves, tree_map

POLL_INTERVAL = 4
"""Positions between two looks at which sentences have finished."""
MIN_SLOTS, MIN_POSITIONS, MIN_SOURCE = 16, 32, 16
"""Of the smallest bucket; each next one is twice as large."""
MAX_BUCKETS = 48
"""Buckets whose tensors and graphs are kept, if there is room."""
MEMORY_SHARE = 4
"""They take a fourth of the free memory at most, but for the one in use."""


class GraphBucket:
    """The tensors of one bucket, and what does a step on them."""

    def __init__(self, step: StaticStep, like: BeamBuffers) -> None:
        self.step = step
        self.slots = tree_map(like, torch.clone)
        self.size = sum(x.nbytes for x in tree_leaves(self.slots))
        self.graph: torch.cuda.CUDAGraph | None = None
        self.calls = 0

    def __call__(self) -> None:
        self.calls += 1
        if self.graph is not None:
            self.graph.replay()
        else:
            self.run()

    def run(self) -> None:
        """Operation by operation."""
        tree_copy_(self.slots, self.step(self.slots))


class GraphPool:
    """The buckets of one model and one way to search, made when they are first needed.

    The first step in a bucket runs operation by operation, so that kernels are chosen; the second is captured.
    """

    def __init__(self, captures: bool = True) -> None:
        """`captures`: on CUDA; else the twin."""
        self.captures = captures
        self.graph_pool: OrderedDict[Any, GraphBucket] = OrderedDict()
        self.pool = torch.cuda.graph_pool_handle() if captures else None
        self.most = torch.cuda.mem_get_info()[0] // MEMORY_SHARE if captures else math.inf

    def enter(self, step: StaticStep, slots: BeamBuffers) -> GraphBucket:
        """The stage of this shape, with these slots in it."""
        key = (step, *((x.shape, x.dtype) for x in tree_leaves(slots)))
        stage = self.graph_pool.get(key)
        if stage is None:
            stage = self.graph_pool[key] = GraphBucket(step, slots)
            self._evict()
            return stage
        self.graph_pool.move_to_end(key)
        tree_copy_(stage.slots, slots)
        return stage

    def run(self, stage: GraphBucket) -> None:
        """One step, by its graph if there may be one."""
        if self.captures and stage.graph is None and stage.calls:
            # One pool for all: what lies in it is over when a step is, and no two steps run at once.
            stage.graph, reason = capture_graph(stage.run, self.pool)
            if stage.graph is None:
                self.captures = False
                message = f"warning: a step cannot be captured as a CUDA graph; it runs slower without: {reason}"
                print(message, file=sys.stderr)
        stage()

    def clear(self) -> None:
        """Give all memory back; buckets are made again when they are needed."""
        self.graph_pool.clear()

    def _evict(self) -> None:
        """Forget the buckets that nobody has come to for longest."""
        size = sum(stage.size for stage in self.graph_pool.values())
        while len(self.graph_pool) > 1 and (len(self.graph_pool) > MAX_BUCKETS or size > self.most):
            size -= self.graph_pool.popitem(last=False)[1].size


class StaticSearch(Search):
    """`BeamSearch` in stages; with one beam, `GreedySearch`."""

    def __init__(
        self,
        model: StepModel,
        memory: Any,
        limits: Tensor,
        *,
        source: int,
        graph_pool: GraphPool,
        beam: int,
        n_best: int = 1,
        scorer: Scorer | None = None,
        scored: bool = True,
    ) -> None:
        """`source`: tokens of the longest source. `scored`: False for one beam only. The others: `BeamSearch`."""
        assert scored or beam == 1
        self.graph_pool, self.step_of = graph_pool, StaticStep(model, scorer or Scorer(), n_best, scored)
        self.generated, self.longest = 0, int(limits.max())
        self.source = bucket_size(source, MIN_SOURCE)
        self.rows = list(range(len(limits)))  # the sentence of each slot but the spare ones
        self.alive = len(self.rows)
        self.beam = beam
        self.gone: list[tuple[list[int], FinishedBuffers]] = []
        self.asked: AsyncResult | None = None
        state = model.init_state(memory)
        state = state.reorder(torch.zeros(len(limits), beam, dtype=torch.int64, device=limits.device))
        self._move(initial_buffers(state, limits, beam), self.rows)

    @property
    def position(self) -> int:
        return self.generated

    @property
    def num_active(self) -> int:
        return self.alive * self.beam

    @property
    def num_unfinished(self) -> int:
        return self.alive

    def step(self) -> None:
        """Some positions, and a look at which sentences have finished."""
        for _ in range(min(POLL_INTERVAL, self.longest - self.position)):
            if self.position == self.stage.slots.capacity:
                self._move(self.stage.slots, range(len(self.rows)))
            self.graph_pool.run(self.stage)
            self.generated += 1
        if self.position == self.longest:
            self._leave(range(len(self.rows)))
        else:
            self._look()

    def results(self) -> list[list[Hypothesis]]:
        found = {row: one for rows, ended in self.gone for row, one in zip(rows, self._read(ended), strict=True)}
        return [found[row] for row in range(len(found))]

    def _look(self) -> None:
        """Let go what was finished at the last look: by now the answer is there."""
        before, self.asked = self.asked, AsyncResult(self.stage.slots.done)
        if before is None:
            return
        done = before.read()
        alive = [slot for slot in range(len(self.rows)) if not done[slot]]
        self.alive = len(alive)
        if not alive or bucket_size(len(alive), MIN_SLOTS) < len(done):
            self._leave([slot for slot in range(len(self.rows)) if done[slot]])
            if alive:
                self._move(self.stage.slots, alive)

    def _leave(self, slots: Sequence[int]) -> None:
        ended = self.stage.slots.ended
        rows = torch.tensor(slots, device=ended.scores.device)
        self.gone.append(([self.rows[slot] for slot in slots], tree_map(ended, partial(select_rows, rows))))
        self.alive = len(self.rows) - len(slots)

    def _move(self, slots: BeamBuffers, kept: Sequence[int]) -> None:
        """To the bucket that fits these slots, and the next position."""
        spare = bucket_size(len(kept), MIN_SLOTS) - len(kept)
        rows = torch.tensor([*kept, *[kept[0]] * spare], device=slots.limits.device)
        moved = slots.select(rows).grow(
            max(slots.capacity, bucket_size(self.position + 1, MIN_POSITIONS)), self.source
        )
        self.stage = self.graph_pool.enter(self.step_of, moved)
        self.rows = [self.rows[slot] for slot in kept]
        self.asked = None  # a look at other slots

    def _read(self, ended: FinishedBuffers) -> list[list[Hypothesis]]:
        """The hypotheses of each slot, best first."""
        columns = (x.tolist() for x in tree_leaves(ended))
        return [
            [
                self._hypothesis(*one)
                for i, one in enumerate(zip(*slot, strict=True))
                if not i or one[0] > -math.inf
            ]
            for slot in zip(*columns, strict=True)
        ]

    def _hypothesis(
        self, score: float, log_prob: float, length: int, tokens: list[int], token_log_probs: list[float]
    ) -> Hypothesis:
        generated = [token for token in tokens[1:length] if token > EOS]
        if not self.step_of.scored:
            return Hypothesis(generated, math.nan, math.nan)
        if self.beam == 1:  # whose sums nobody compares, so there are none
            log_prob = max(sum(token_log_probs[:length]), LOWEST_SCORE)
        return Hypothesis(
            generated, log_prob, self.step_of.scorer(log_prob, len(generated) + 1), token_log_probs[:length]
        )


class AsyncResult:
    """A tensor on its way to the host, without the device being made to wait."""

    def __init__(self, asked: Tensor) -> None:
        self.sent: torch.cuda.Event | None = None
        if asked.is_cuda:
            self.values = torch.empty(asked.shape, dtype=asked.dtype, pin_memory=True)
            self.values.copy_(asked, non_blocking=True)
            self.sent = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self.sent.record()
        else:
            self.values = asked.clone()

    def read(self) -> list[Any]:
        if self.sent is not None:
            self.sent.synchronize()
        found: list[Any] = self.values.tolist()
        return found


def bucket_size(count: int, least: int) -> int:
    """The smallest `least · 2ⁿ` that holds so many."""
    size = least
    while size < count:
        size *= 2
    return size
