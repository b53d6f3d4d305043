"""Beam search on buffers of fixed shape, so that on CUDA a single captured graph computes a whole step.

A step of a small model launches about a hundred kernels, each of which finishes before the host has
launched the next one. A CUDA graph launches all of them at once: the model, the selection of
continuations, and the bookkeeping of finished hypotheses. For this each sentence occupies a slot of
the buffers, and keeps it after it has finished. The host polls every few positions which sentences
have finished, and reads the result of the previous poll, so that the device never waits. When half
of the slots are finished, or the buffers have no free position left, the hypotheses move to a
bucket of another shape, with a graph for that shape.

Without CUDA the same operations run eagerly; tests compare this variant with `BeamSearch`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from transformer_cli.decoding.execution.cuda_graphs import AsyncResult, GraphPool, bucket_size
from transformer_cli.decoding.execution.static_step import (
    BeamBuffers,
    FinishedBuffers,
    StaticStep,
    initial_buffers,
    select_rows,
)
from transformer_cli.decoding.search.base import Search, StepModel
from transformer_cli.decoding.search.hypothesis import (
    Hypothesis,
    Scorer,
    build_hypothesis,
    remove_special_tokens,
)
from transformer_cli.tree import tree_leaves, tree_map

POLL_INTERVAL = 4
"""Positions between two polls for finished sentences."""
MIN_SLOTS, MIN_POSITIONS, MIN_SOURCE = 16, 32, 16
"""Dimensions of the smallest bucket; each larger bucket doubles them."""


class StaticSearch(Search):
    """`BeamSearch`, or `GreedySearch` if `beam` is 1, on buffers of fixed shape."""

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
        """
        Args:
            source: number of tokens of the longest source.
            graph_pool: the buckets to run in.
            scored: compute log-probabilities. False is allowed only if `beam` is 1.
            Others: as in `BeamSearch`.
        """
        assert scored or beam == 1
        self.graph_pool, self.beam = graph_pool, beam
        self.static_step = StaticStep(model, scorer or Scorer(), n_best, scored)
        self.source = bucket_size(source, MIN_SOURCE)
        self._position, self.max_limit = 0, int(limits.max())
        self.sentences = list(range(len(limits)))  # the sentence in each slot; slots beyond these are filler
        self._num_unfinished = len(self.sentences)
        self.finished: list[tuple[list[int], FinishedBuffers]] = []  # (sentences, their finished hypotheses)
        self.pending_poll: AsyncResult | None = None
        state = model.init_state(memory)
        state = state.reorder(torch.zeros(len(limits), beam, dtype=torch.int64, device=limits.device))
        self._enter_bucket(initial_buffers(state, limits, beam), self.sentences)

    @property
    def position(self) -> int:
        return self._position

    @property
    def num_active(self) -> int:
        return self._num_unfinished * self.beam

    @property
    def num_unfinished(self) -> int:
        return self._num_unfinished

    def step(self) -> None:
        """Decode up to `POLL_INTERVAL` positions, then poll for finished sentences."""
        for _ in range(min(POLL_INTERVAL, self.max_limit - self.position)):
            if self.position == self.bucket.buffers.capacity:
                self._enter_bucket(self.bucket.buffers, range(len(self.sentences)))
            self.graph_pool.run(self.bucket)
            self._position += 1
        if self.position == self.max_limit:
            self._collect_finished(range(len(self.sentences)))
        else:
            self._poll()

    def results(self) -> list[list[Hypothesis]]:
        hypotheses = {
            sentence: slot
            for sentences, finished in self.finished
            for sentence, slot in zip(sentences, self._read(finished), strict=True)
        }
        return [hypotheses[sentence] for sentence in range(len(hypotheses))]

    def _poll(self) -> None:
        """Remove the sentences that were finished at the previous poll, whose result has arrived by now."""
        previous, self.pending_poll = self.pending_poll, AsyncResult(self.bucket.buffers.done)
        if previous is None:
            return
        done = previous.read()
        unfinished = [slot for slot in range(len(self.sentences)) if not done[slot]]
        self._num_unfinished = len(unfinished)
        if not unfinished or bucket_size(len(unfinished), MIN_SLOTS) < len(done):
            self._collect_finished([slot for slot in range(len(self.sentences)) if done[slot]])
            if unfinished:
                self._enter_bucket(self.bucket.buffers, unfinished)

    def _collect_finished(self, slots: Sequence[int]) -> None:
        """Copy the finished hypotheses of these slots out of the buffers."""
        finished = self.bucket.buffers.finished
        rows = torch.tensor(slots, device=finished.scores.device)
        self.finished.append(
            ([self.sentences[slot] for slot in slots], tree_map(finished, partial(select_rows, rows)))
        )
        self._num_unfinished = len(self.sentences) - len(slots)

    def _enter_bucket(self, buffers: BeamBuffers, slots: Sequence[int]) -> None:
        """Move these slots to the smallest bucket that fits them and the next position."""
        filler = bucket_size(len(slots), MIN_SLOTS) - len(slots)
        rows = torch.tensor([*slots, *[slots[0]] * filler], device=buffers.limits.device)
        positions = max(buffers.capacity, bucket_size(self.position + 1, MIN_POSITIONS))
        self.bucket = self.graph_pool.enter(
            self.static_step, buffers.select(rows).to_static(positions, self.source)
        )
        self.sentences = [self.sentences[slot] for slot in slots]
        self.pending_poll = None  # it refers to the previous slots

    def _read(self, finished: FinishedBuffers) -> list[list[Hypothesis]]:
        """The hypotheses of each slot, best first; empty places, of score -inf, are left out."""
        columns = (x.tolist() for x in tree_leaves(finished))
        return [
            [
                self._hypothesis(*hypothesis)
                for i, hypothesis in enumerate(zip(*slot, strict=True))
                if not i or hypothesis[0] > -math.inf
            ]
            for slot in zip(*columns, strict=True)
        ]

    def _hypothesis(
        self, score: float, log_prob: float, length: int, tokens: list[int], token_log_probs: list[float]
    ) -> Hypothesis:
        """One entry of `FinishedBuffers`. A single beam has no sums (see `BeamBuffers.scores`)."""
        return build_hypothesis(
            remove_special_tokens(tokens[1:length]),
            token_log_probs[:length] if self.static_step.scored else [],
            self.static_step.scorer,
            log_prob if self.beam > 1 else None,
        )
