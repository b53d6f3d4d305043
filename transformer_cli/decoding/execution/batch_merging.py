"""Runs batches one after the other and merges the last sentences of a batch into a later one.

A decoding step costs nearly as much for five sentences as for thirty, because it reads all weights
in both cases. The last few sentences of a batch are therefore set aside and merged into a later
batch when it reaches their position. The model needs no support for this: all sentences of a state
are at the same position.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from transformer_cli.decoding.search.base import Search
from transformer_cli.decoding.search.hypothesis import Hypothesis
from transformer_cli.errors import UserError
from transformer_cli.memory import SplitOnOutOfMemory

IdMap = Callable[[list[Hypothesis]], list[Hypothesis]]

MAX_WAITING = 64
"""Maximum number of hypotheses of a batch that are set aside."""
WAITING_DIVISOR = 4
"""At most 1 / 4 of a batch is set aside, and a batch grows by at most 1 / 4 of its initial size.

A batch of one sentence is therefore never merged.
"""


def search_batches(
    batches: Sequence[Sequence[int]],
    start: Callable[[Sequence[int]], ActiveBatch],
    progress: Callable[[int], object] = lambda done: None,
) -> dict[int, list[Hypothesis]]:
    """The hypotheses of each sentence.

    Args:
        batches: sentences, by numbers unique among all batches. Batches of shorter sentences should
            come first.
        start: starts the search of a batch. All searches are of the same kind, and of the same
            model unless they have a `map_ids`.
        progress: called repeatedly with the number of newly finished sentences.
    """
    results: dict[int, list[Hypothesis]] = {}
    waiting: dict[int, ActiveBatch] = {}  # by position
    pending = [batch for batch in reversed(batches) if len(batch)]
    reported = 0
    while pending or waiting:
        active = start(pending.pop()) if pending else waiting.pop(min(waiting))
        while active.search.num_active:
            candidate = waiting.get(active.position)
            if candidate is not None and active.can_merge_with(candidate):
                active.merge(waiting.pop(active.position))
            elif candidate is None and pending and active.is_small:
                waiting[active.position] = active
                break
            active.search.step()
        else:
            results.update(active.results())
        done = len(results) + sum(batch.num_finished for batch in waiting.values())
        progress(done - reported)
        reported = done
    return results


class OutOfMemorySafeSearch:
    """Runs `search_batches`; splits batches that run out of memory and repeats them (`SplitOnOutOfMemory`)."""

    def __init__(self, release: Callable[[], object]) -> None:
        """`release`: frees cached memory after a failure."""
        self.release = release
        self.split_on_out_of_memory = SplitOnOutOfMemory(_notify_limit)

    def __call__(
        self,
        batches: Sequence[Sequence[int]],
        start: Callable[[Sequence[int]], ActiveBatch],
        progress: Callable[[int], object],
        size: Callable[[Sequence[int]], int] = len,
    ) -> dict[int, list[Hypothesis]]:
        """As `search_batches`.

        Args:
            progress: also called with a negative number: minus the count reported so far, because
                those sentences are searched again.
            size: a measure of the memory that a batch needs, such as its padded tokens.

        Raises:
            UserError: a single sentence does not fit.
        """
        reported = 0

        def report(done: int) -> None:
            nonlocal reported
            reported += done
            progress(done)

        def recover() -> None:
            report(-reported)
            self.release()

        return self.split_on_out_of_memory(
            batches,
            lambda parts: search_batches(parts, start, report),
            size=size,
            split=_halves,
            recover=recover,
            too_large=lambda batch: UserError(
                f"out of memory on a single sentence of {size(batch):,} source tokens",
                hint="lower --beam or data.max_length, or use --device cpu",
            ),
        )


def _halves(batch: Sequence[int]) -> list[Sequence[int]]:
    """Alternating sentences, so that both halves have about the same lengths."""
    return [half for half in (batch[::2], batch[1::2]) if len(half)]


def _notify_limit(limit: int) -> None:
    print(
        f"out of memory on a batch of {limit:,} source tokens: batches of this size are now split, "
        "which is slower and gives the same result; lower --batch-tokens to avoid it",
        file=sys.stderr,
    )


class ActiveBatch:
    """A running search and the numbers of its sentences."""

    def __init__(self, search: Search, sentences: Sequence[int], map_ids: IdMap | None = None) -> None:
        """`map_ids`: maps token ids valid only in this batch to those of the vocabulary; prevents merging."""
        self.search, self.sentences, self.map_ids = search, list(sentences), map_ids
        self.max_waiting = min(MAX_WAITING, search.num_active // WAITING_DIVISOR)
        self.max_active = search.num_active + self.max_waiting

    @property
    def position(self) -> int:
        return self.search.position

    @property
    def is_small(self) -> bool:
        """Whether the batch may be set aside."""
        return self._can_merge and self.search.num_active <= self.max_waiting

    @property
    def _can_merge(self) -> bool:
        return self.search.can_merge and self.map_ids is None

    @property
    def num_finished(self) -> int:
        """Number of finished sentences."""
        return len(self.sentences) - self.search.num_unfinished

    def results(self) -> dict[int, list[Hypothesis]]:
        """The hypotheses of each sentence, once the search is complete."""
        results = self.search.results()
        return dict(zip(self.sentences, map(self.map_ids, results) if self.map_ids else results, strict=True))

    def can_merge_with(self, other: ActiveBatch) -> bool:
        return self._can_merge and self.search.num_active + other.search.num_active <= self.max_active

    def merge(self, other: ActiveBatch) -> None:
        """Append the sentences of another batch at the same position."""
        self.search.merge(other.search)
        self.sentences += other.sentences
