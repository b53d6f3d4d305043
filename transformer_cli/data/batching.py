"""Batching of sentence pairs: length bucketing, token budgets, seeded order.

The plan of an epoch is a pure function of (corpus, budget, seed, epoch). The number of workers and earlier
epochs do not change it, so the position (epoch, batch) is all the state that a resumed run needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from transformer_cli.batch import Batch, BatchPlan, DataPosition, TokenBudget, split_by_budget
from transformer_cli.data.store import EncodedCorpus

Rows = NDArray[np.int64]
EpochCorpora = Callable[[int], EncodedCorpus]
"""Maps an epoch to its corpus."""
START = DataPosition()
PART = 1 << 18
"""Pairs whose lengths are looked up at a time."""


def plan_epoch(corpus: EncodedCorpus, batch_tokens: int, seed: int, epoch: int) -> list[Rows]:
    """Plan padded batches, each as rows of the corpus; every pair is in exactly one batch.

    Pairs are sorted by target and source length, with ties in random order, and split where the padded longer
    side would exceed `batch_tokens`; then the batches are shuffled. A pair longer than the budget is a batch
    by itself.
    """
    rng = np.random.default_rng([seed, epoch])
    order = _sort_by_lengths(corpus, rng.permutation(len(corpus)))
    lengths = np.maximum(corpus.src.lengths, corpus.tgt.lengths)[order]
    ends = _split_by_budget(lengths, batch_tokens)
    plan = [order[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    return [plan[i] for i in rng.permutation(len(plan))]


def _sort_by_lengths(corpus: EncodedCorpus, order: Rows) -> Rows:
    """Rows in `order`, sorted by target and source length; those of equal lengths stay in their order."""
    count = len(order)
    src_bits, tgt_bits, row_bits = (
        int(n).bit_length() for n in (corpus.src.lengths.max(), corpus.tgt.lengths.max(), count)
    )
    # One integer for each pair, which is sorted in place: (target length, source length, position in `order`).
    assert src_bits + tgt_bits + row_bits < 63
    keys = np.arange(count)
    for start in range(0, count, PART):
        rows = order[start : start + PART]
        src, tgt = corpus.src.lengths[rows].astype(np.int64), corpus.tgt.lengths[rows].astype(np.int64)
        # Source lengths alternately rise and fall, so that they also match across a change of the target length.
        src = np.where(tgt % 2, src, (1 << src_bits) - 1 - src)
        keys[start : start + PART] |= (tgt << src_bits | src) << row_bits
    keys.sort()
    keys &= (1 << row_bits) - 1
    for start in range(0, count, PART):
        keys[start : start + PART] = order[keys[start : start + PART]]
    return keys


def _split_by_budget(lengths: NDArray[np.int32], budget: int) -> list[int]:
    """The ends of the ranges of `split_by_budget`."""
    ends, start, count = [], 0, len(lengths)
    while start < count:
        # More sentences of the first one's length do not fit, and a longer one only takes more.
        window = lengths[start : start + max(1, budget // int(lengths[start]))]
        padded = np.maximum.accumulate(window) * np.arange(1, len(window) + 1)
        start += max(1, int(np.searchsorted(padded, budget, side="right")))
        ends.append(start)
    return ends


def plan_packed_epoch(corpus: EncodedCorpus, budget: TokenBudget, seed: int, epoch: int) -> list[Rows]:
    """Plan packed batches of fixed shape: pairs in random order, as many as the budget holds.

    Packed batches have no padding, so lengths may differ within a batch, and each batch is a random sample of
    the corpus. Every pair is in exactly one batch.
    """
    order = np.random.default_rng([seed, epoch]).permutation(len(corpus))
    ends, start = [], 0
    while start < len(order):
        # A sentence has at least one token, so that no more pairs fit than there are tokens.
        rows = order[start : start + min(budget.sentences, budget.tokens)]
        sums = [np.cumsum(side.lengths[rows]) for side in (corpus.src, corpus.tgt)]
        start += max(1, int(np.searchsorted(np.maximum(*sums), budget.tokens, side="right")))
        ends.append(start)
    return [order[start:end] for start, end in zip([0, *ends], ends, strict=False)]


class BatchStream:
    """Endless iterator over batch plans. `position` is the position of the next batch."""

    def __init__(
        self,
        corpora: EpochCorpora,
        batch_tokens: int,
        seed: int,
        position: DataPosition = START,
        *,
        packed: TokenBudget | None = None,
    ) -> None:
        """`packed`: make packed batches within this budget instead of padded batches of `batch_tokens`."""
        self.corpora = corpora
        self.batch_tokens = batch_tokens
        self.seed = seed
        self.position = position
        self.packed = packed
        self._start_epoch(position.epoch)
        if position.batch >= len(self._plan):  # a position from the other kind of plan, which has more batches
            self.position = DataPosition(position.epoch + 1, 0)
            self._start_epoch(position.epoch + 1)

    def __iter__(self) -> Iterator[BatchPlan]:
        return self

    def __next__(self) -> BatchPlan:
        epoch, index = self.position.epoch, self.position.batch
        pairs = self._batch_plan(self._plan[index])
        if index + 1 < len(self._plan):
            self.position = DataPosition(epoch, index + 1)
        else:
            self.position = DataPosition(epoch + 1, 0)
            self._start_epoch(epoch + 1)
        return pairs

    def largest_batch(self) -> BatchPlan:
        """The batch of the current epoch that needs the most memory."""
        return max(map(self._batch_plan, self._plan), key=lambda pairs: pairs.padded_tokens)

    def _batch_plan(self, rows: Rows) -> BatchPlan:
        return self._corpus.batch_plan(rows, packed=self.packed is not None)

    @property
    def batches_per_epoch(self) -> int:
        return len(self._plan)

    def _start_epoch(self, epoch: int) -> None:
        self._corpus = self.corpora(epoch)
        assert len(self._corpus), "an empty corpus has no batches"
        if self.packed is None:
            self._plan = plan_epoch(self._corpus, self.batch_tokens, self.seed, epoch)
        else:
            self._plan = plan_packed_epoch(self._corpus, self.packed, self.seed, epoch)


def sorted_batches(corpus: EncodedCorpus, batch_tokens: int, *, packed: bool = False) -> Iterator[Batch]:
    """Every pair once, shortest first, in a deterministic order: for measuring the loss."""
    lengths = np.maximum(corpus.src.lengths, corpus.tgt.lengths)
    order = np.argsort(lengths, kind="stable")
    for start, end in split_by_budget(lengths[order].tolist(), batch_tokens):
        yield corpus.batch_plan(order[start:end], packed=packed).collate()
