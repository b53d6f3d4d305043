"""Which pairs go into which batch: near-equal lengths, a token budget, a seeded order.

The plan of an epoch is a pure function of (corpus, budget, seed, epoch); no worker and no history changes it,
so a position (epoch, batch) says all that a resumed run needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from transformer_cli.batch import Batch, TokenBudget, BatchPlan, DataPosition, split_by_budget
from transformer_cli.data.store import EncodedCorpus

Rows = NDArray[np.int64]
EpochCorpora = Callable[[int], EncodedCorpus]
"""Epoch -> the corpus as that epoch reads it."""


def plan_epoch(corpus: EncodedCorpus, batch_tokens: int, seed: int, epoch: int) -> list[Rows]:
    """All batches of an epoch, each as rows of the corpus; every pair stands in exactly one.

    Pairs are sorted by target and source length, ties in random order, cut when the padded longer side
    would exceed `batch_tokens`, and the batches shuffled. A pair longer than the budget is a batch alone.
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(corpus))
    src, tgt = corpus.src.lengths[order], corpus.tgt.lengths[order]
    # Up and down in turn: where one target length ends and the next begins, source lengths still agree.
    order = order[np.lexsort((np.where(tgt % 2, src, -src), tgt))]
    batches = split_by_budget(np.maximum(corpus.src.lengths, corpus.tgt.lengths)[order].tolist(), batch_tokens)
    plan = [order[start:end] for start, end in batches]
    return [plan[i] for i in rng.permutation(len(plan))]


def plan_packed_epoch(corpus: EncodedCorpus, budget: TokenBudget, seed: int, epoch: int) -> list[Rows]:
    """As `plan_epoch`, for packed batches of one shape: pairs in random order, as many as the budget holds.

    Nothing is padded, so lengths need not agree, and the more they differ, the more a batch is like the corpus.
    """
    order = np.random.default_rng([seed, epoch]).permutation(len(corpus))
    src, tgt = corpus.src.lengths[order].tolist(), corpus.tgt.lengths[order].tolist()
    ends, start, src_sum, tgt_sum = [], 0, 0, 0
    for i, (s, t) in enumerate(zip(src, tgt, strict=True)):
        src_sum, tgt_sum = src_sum + s, tgt_sum + t
        if i > start and (max(src_sum, tgt_sum) > budget.tokens or i - start >= budget.sentences):
            ends.append(i)
            start, src_sum, tgt_sum = i, s, t
    return [rows for rows in np.split(order, ends) if len(rows)]


class BatchStream:
    """Endless batches from a position on, each as its pairs. `position` is always that of the batch to come."""

    def __init__(
        self,
        corpora: EpochCorpora,
        batch_tokens: int,
        seed: int,
        position: DataPosition = DataPosition(),
        *,
        packed: TokenBudget | None = None,
    ) -> None:
        """`packed`: batches are packed and fill this instead; without it they are padded, of near-equal lengths."""
        self.corpora = corpora
        self.batch_tokens = batch_tokens
        self.seed = seed
        self.position = position
        self.packed = packed
        self._enter(position.epoch)
        if position.batch >= len(self._plan):  # counted in a plan of another kind, with more batches
            self.position = DataPosition(position.epoch + 1, 0)
            self._enter(position.epoch + 1)

    def __iter__(self) -> Iterator[BatchPlan]:
        return self

    def __next__(self) -> BatchPlan:
        epoch, index = self.position.epoch, self.position.batch
        pairs = self._batch_plan(self._plan[index])
        if index + 1 < len(self._plan):
            self.position = DataPosition(epoch, index + 1)
        else:
            self.position = DataPosition(epoch + 1, 0)
            self._enter(epoch + 1)
        return pairs

    def largest_batch(self) -> BatchPlan:
        """Of the epoch that it stands in, the batch that takes most memory."""
        return max(map(self._batch_plan, self._plan), key=lambda pairs: pairs.padded_tokens)

    def _batch_plan(self, rows: Rows) -> BatchPlan:
        return self._corpus.batch_plan(rows, packed=self.packed is not None)

    @property
    def batches_per_epoch(self) -> int:
        return len(self._plan)

    def _enter(self, epoch: int) -> None:
        self._corpus = self.corpora(epoch)
        assert len(self._corpus), "an empty corpus has no batches"
        if self.packed is None:
            self._plan = plan_epoch(self._corpus, self.batch_tokens, self.seed, epoch)
        else:
            self._plan = plan_packed_epoch(self._corpus, self.packed, self.seed, epoch)


def sorted_batches(corpus: EncodedCorpus, batch_tokens: int, *, packed: bool = False) -> Iterator[Batch]:
    """Every pair once, shortest first, without randomness: for measuring the loss."""
    lengths = np.maximum(corpus.src.lengths, corpus.tgt.lengths)
    order = np.argsort(lengths, kind="stable")
    for start, end in split_by_budget(lengths[order].tolist(), batch_tokens):
        yield corpus.batch_plan(order[start:end], packed=packed).collate()
