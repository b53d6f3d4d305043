"""The compiled searches behind the interface of `Search`.

Shapes: B sentences of a batch, T maximum number of target tokens.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transformer_cli.decoding.execution.compiled.beam import ROWS, allocate_beams, allocate_finished, beam_search
from transformer_cli.decoding.execution.compiled.buffers import (
    Source,
    allocate_activations,
    allocate_cache,
    allocate_candidates,
    allocate_rows,
    allocate_source,
)
from transformer_cli.decoding.execution.compiled.encoder import CHUNK, encode
from transformer_cli.decoding.execution.compiled.greedy import SLOTS, greedy_search
from transformer_cli.decoding.execution.compiled.weights import PackedTransformer
from transformer_cli.decoding.search.base import Search
from transformer_cli.decoding.search.hypothesis import Hypothesis, Scorer, build_hypothesis, length_penalty
from transformer_cli.token_ids import BOS, EOS, TokenIds

STEPS = 16
"""Steps of a call of a compiled function. Between calls Python handles signals and progress."""


class CompiledSearch(Search):
    """The search of a batch, whose sentences start one after the other as others finish."""

    def __init__(self, model: PackedTransformer, sources: Sequence[TokenIds], limits: Sequence[int]) -> None:
        """
        Args:
            sources: the ids of each sentence, without EOS.
            limits: the maximum number of tokens of each translation, EOS included.
        """
        self.model, self.limits = model, np.array(limits, np.int64)
        self.source = encode_sources(model, sources)
        self.max_limit = int(self.limits.max())
        self.tables = model.tables(self.max_limit, source=False)
        self.positions = max(self.max_limit, int(np.diff(self.source.starts).max()))
        self.progress: NDArray[np.int64] = np.zeros(2, np.int64)  # active sentences, first that has not started
        self._steps = 0

    @property
    def position(self) -> int:
        """Number of steps. The hypotheses are at different positions."""
        return self._steps

    @property
    def num_unfinished(self) -> int:
        return int(self.progress[0] + len(self.limits) - self.progress[1])

    @property
    def num_active(self) -> int:
        return self.num_unfinished

    def step(self) -> None:
        self.run(STEPS)
        self._steps += STEPS

    @abstractmethod
    def run(self, steps: int) -> None:
        """Continue by up to `steps` steps."""


class CompiledGreedySearch(CompiledSearch):
    """As `GreedySearch`."""

    def __init__(
        self,
        model: PackedTransformer,
        sources: Sequence[TokenIds],
        limits: Sequence[int],
        *,
        scorer: Scorer,
        scored: bool,
    ) -> None:
        super().__init__(model, sources, limits)
        self.scorer, self.scored = scorer, scored
        slots, shape = min(SLOTS, len(limits)), (len(limits), self.max_limit)
        self.progress[:] = slots
        rows = allocate_rows(slots)
        rows.sentences[:] = rows.slots[:] = np.arange(slots)
        rows.tokens[:] = BOS
        self.tokens, self.lengths = np.zeros(shape, np.int64), np.zeros(len(limits), np.int64)
        self.log_probs = np.zeros(shape if scored else (1, 1), np.float32)
        self.buffers = (
            allocate_activations(model.decoder, slots, self.positions),
            allocate_cache(model.decoder, slots, 1, self.max_limit),
            rows,
            allocate_candidates(slots, 1),
        )

    def run(self, steps: int) -> None:
        model = self.model
        greedy_search(
            model.decoder,
            self.tables,
            model.projections,
            self.source,
            self.limits,
            self.scored,
            steps,
            self.progress,
            *self.buffers,
            self.tokens,
            self.lengths,
            self.log_probs,
        )

    def results(self) -> list[list[Hypothesis]]:
        results = []
        for i, length in enumerate(self.lengths.tolist()):
            log_probs = self.log_probs[i, :length].tolist() if self.scored else []
            results.append([build_hypothesis(self.tokens[i, : length - 1].tolist(), log_probs, self.scorer)])
        return results


class CompiledBeamSearch(CompiledSearch):
    """As `BeamSearch` without rules and with `TopKSelector`."""

    def __init__(
        self,
        model: PackedTransformer,
        sources: Sequence[TokenIds],
        limits: Sequence[int],
        *,
        beam: int,
        n_best: int,
        scorer: Scorer,
    ) -> None:
        super().__init__(model, sources, limits)
        self.beam, self.n_best, self.scorer = beam, n_best, scorer
        slots = min(max(1, ROWS // beam), len(limits))
        self.penalties = np.array([length_penalty(n, scorer.alpha) for n in range(self.max_limit + 1)])
        self.beams = allocate_beams(slots, beam, self.max_limit)
        self.progress = self.beams.progress
        self.finished = allocate_finished(len(limits), beam, self.max_limit)
        self.buffers = (
            allocate_activations(model.decoder, slots * beam, self.positions),
            allocate_cache(model.decoder, slots, beam, self.max_limit),
            allocate_rows(slots * beam),
            allocate_candidates(slots * beam, 2 * beam),
        )

    def run(self, steps: int) -> None:
        model = self.model
        beam_search(
            model.decoder,
            self.tables,
            model.projections,
            self.source,
            self.limits,
            self.penalties,
            self.n_best,
            steps,
            *self.buffers,
            self.beams,
            self.finished,
        )

    def results(self) -> list[list[Hypothesis]]:
        return [self._ranked(i, count) for i, count in enumerate(self.finished.counts.tolist())]

    def _ranked(self, sentence: int, count: int) -> list[Hypothesis]:
        """The best `beam` hypotheses of a sentence, best first."""
        f = self.finished
        hypotheses = []
        for i, length in enumerate(f.lengths[sentence, :count].tolist()):
            tokens = [t for t in f.tokens[sentence, i, : length - 1].tolist() if t > EOS]
            token_log_probs = f.token_log_probs[sentence, i, :length].tolist()
            log_prob = float(f.log_probs[sentence, i])
            hypotheses.append(build_hypothesis(tokens, token_log_probs, self.scorer, log_prob))
        return sorted(hypotheses, key=lambda h: -h.score)[: self.beam]


def encode_sources(model: PackedTransformer, sources: Sequence[TokenIds]) -> Source:
    """The keys and values of the sentences."""
    tokens = np.concatenate([part for ids in sources for part in (ids, [EOS])]).astype(np.int64)
    lengths = np.array([len(ids) + 1 for ids in sources])
    source = allocate_source(model.decoder, np.concatenate([[0], lengths.cumsum()]))
    longest = int(lengths.max())
    rows = CHUNK + longest
    activations: Any = allocate_activations(model.encoder, rows, longest)
    places = np.arange(rows) * activations.projected_stride
    tables = model.tables(longest, source=True)
    encode(model.encoder, tables, model.decoder, model.projections, tokens, places, activations, source)
    return source
