"""Batches one after the other, of which the last sentences wait for the next batch.

A step costs nearly as much for five sentences as for thirty: the weights must be read either way. So the last few
sentences of a batch are laid aside, and go on with a later one when it comes to their position. Models know
nothing of this: all sentences of a state are at one position, as ever.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from transformer_cli.decoding.search.base import Hypothesis, Search
from transformer_cli.errors import UserError
from transformer_cli.memory import SplitOnOutOfMemory

Naming = Callable[[list[Hypothesis]], list[Hypothesis]]

FEW = 64
"""The most hypotheses that are laid aside."""
SMALL_PART = 4
"""And the most, as a part of their batch and of the one that takes them in: a quarter.

So a batch has at most a quarter more sentences than it began with, and a batch of one sentence stays alone.
"""


def search_batches(
    batches: Sequence[Sequence[int]],
    start: Callable[[Sequence[int]], ActiveBatch],
    progress: Callable[[int], object] = lambda done: None,
) -> dict[int, list[Hypothesis]]:
    """The hypotheses of each sentence.

    Args:
        batches: sentences, by any number that is theirs alone; best if shorter ones come first.
        begin: the search of a batch; all are of one kind, and of one model unless they are `map_ids`.
        progress: told how many sentences are done, again and again.
    """
    found: dict[int, list[Hypothesis]] = {}
    waiting: dict[int, ActiveBatch] = {}  # by position
    ahead = [batch for batch in reversed(batches) if len(batch)]
    told = 0
    while ahead or waiting:
        underway = start(ahead.pop()) if ahead else waiting.pop(min(waiting))
        while underway.search.num_active:
            other = waiting.get(underway.position)
            if other is not None and underway.can_merge_with(other):
                underway.merge(waiting.pop(underway.position))
            elif other is None and ahead and underway.is_small:
                waiting[underway.position] = underway
                break
            underway.search.step()
        else:
            found.update(underway.results())
        done = len(found) + sum(u.done for u in waiting.values())
        progress(done - told)
        told = done
    return found


class MemoryBoundSearch:
    """`search_batches`; sentences of batches that do not fit into memory are searched in smaller batches."""

    def __init__(self, release: Callable[[], object]) -> None:
        """`release`: frees memory that is not needed at the moment."""
        self.release = release
        self.split_on_out_of_memory = SplitOnOutOfMemory(_notify_limit)

    def __call__(
        self,
        batches: Sequence[Sequence[int]],
        start: Callable[[Sequence[int]], ActiveBatch],
        progress: Callable[[int], object],
        size: Callable[[Sequence[int]], int] = len,
    ) -> dict[int, list[Hypothesis]]:
        """As `search_batches`. `size`: what the memory of a batch grows with.

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
                "out of memory on a single sentence", hint="lower --beam, or use --device cpu"
            ),
        )


def _halves(batch: Sequence[int]) -> list[Sequence[int]]:
    """Every second sentence: both halves have about the same lengths."""
    return [half for half in (batch[::2], batch[1::2]) if len(half)]


def _notify_limit(limit: int) -> None:
    print(
        f"out of memory on a batch of {limit:,} source tokens: batches of this size are split from now on, "
        "slower and with the same result; a lower --batch-tokens fits at once",
        file=sys.stderr,
    )


class ActiveBatch:
    """A search, and the numbers of its sentences.

    `map_ids`: tokens of this batch alone -> those of the vocabulary; such a batch goes on with no other.
    """

    def __init__(self, search: Search, sentences: Sequence[int], map_ids: Naming | None = None) -> None:
        self.search, self.sentences, self.map_ids = search, list(sentences), map_ids
        self.few = min(FEW, search.num_active // SMALL_PART)
        self.most = search.num_active + self.few

    @property
    def position(self) -> int:
        return self.search.position

    @property
    def is_small(self) -> bool:
        return self._joins and self.search.num_active <= self.few

    @property
    def _joins(self) -> bool:
        return self.search.can_merge and self.map_ids is None

    @property
    def done(self) -> int:
        """How many sentences are finished."""
        return len(self.sentences) - self.search.num_unfinished

    def results(self) -> dict[int, list[Hypothesis]]:
        found = self.search.results()
        return dict(zip(self.sentences, map(self.map_ids, found) if self.map_ids else found, strict=True))

    def can_merge_with(self, other: ActiveBatch) -> bool:
        return self._joins and self.search.num_active + other.search.num_active <= self.most

    def merge(self, other: ActiveBatch) -> None:
        self.search.merge(other.search)
        self.sentences += other.sentences
