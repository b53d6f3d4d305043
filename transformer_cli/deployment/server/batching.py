"""The queue of a model: sentences of requests that arrive together are searched together.

Requests take turns, so that a long text does not keep short ones waiting. All methods but `translate` run on the
event loop.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from transformer_cli.decoding.request import TranslationRequest
from transformer_cli.decoding.translation import Translation
from transformer_cli.deployment.server.settings import RequestError
from transformer_cli.errors import UserError

MAX_BATCH = 48
"""Sentences that are searched together: enough for an efficient search, few enough that answers do not wait."""
GATHER_SECONDS, MAX_GATHER_SECONDS = 0.004, 0.06
"""While a thread is busy, another one waits for more sentences as long as some arrive within the first time."""
TURN_SENTENCES, WINDOW = 8, 4 * MAX_BATCH
"""Sentences that a request contributes before the next one has its turn, and those that a batch is chosen from."""
Result = TypeVar("Result")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SearchOptions:
    """What a request asks of the search; only sentences with equal options are searched together.

    `overrides`: decoding options, as sorted pairs.
    """

    overrides: tuple[tuple[str, Any], ...] = ()
    request: TranslationRequest = TranslationRequest()  # noqa: RUF009  (frozen)


@dataclass(eq=False)
class Job:
    """The sentences of a request.

    Attributes:
        deadline: time of the event loop until which its sentences are searched.
        results: by sentence; None while it is not translated.
        pending: numbers of the sentences that are not being searched yet.
    """

    sentences: Sequence[str]
    options: SearchOptions
    deadline: float
    results: list[Translation | None] = field(init=False)
    pending: deque[int] = field(init=False)
    error: RequestError | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.results = [None] * len(self.sentences)
        self.pending = deque(range(len(self.sentences)))

    async def wait(self, end: int) -> list[Translation]:
        """The first `end` translations, as soon as they are there. Raises: RequestError."""
        while True:
            self.changed.clear()
            done = [result for result in self.results[:end] if result is not None]
            if len(done) == end:
                return done
            if self.error:
                raise self.error
            remaining = self.deadline - asyncio.get_running_loop().time()
            try:
                await asyncio.wait_for(self.changed.wait(), max(0.0, remaining))
            except TimeoutError:
                self.fail(RequestError(503, "the translation took too long", retry_after=5))

    def fail(self, error: RequestError) -> None:
        """Drop the sentences that are not translated yet."""
        self.error = self.error or error
        self.pending.clear()
        self.changed.set()


class BatchingWorker:
    """Searches the sentences of all requests for one model, a batch at a time on each of its threads."""

    def __init__(
        self,
        translate: Callable[[Sequence[str], SearchOptions], list[Translation]],
        max_queue: int,
        threads: int = 1,
        on_batch: Callable[[int], object] = lambda sentences: None,
    ) -> None:
        """
        Args:
            translate: called on the worker's threads.
            max_queue: sentences that may wait.
            threads: batches that are searched at the same time, each on a thread.
            on_batch: called with the size of each batch.
        """
        self._translate = translate
        self._max_queue = max_queue
        self._on_batch = on_batch
        self._jobs: deque[Job] = deque()
        self._wake = asyncio.Event()
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="search")
        self._searching = 0  # threads
        self._closing = False
        self._tasks = [asyncio.create_task(self._run()) for _ in range(threads)]

    @property
    def waiting(self) -> int:
        """Sentences that wait for their turn."""
        return sum(len(job.pending) for job in self._jobs)

    def check_space(self, sentences: int) -> None:
        """Raises: RequestError if the queue has no space for so many sentences."""
        if sentences > self._max_queue:
            raise RequestError(
                413, f"the text has {sentences:,} sentences; at most {self._max_queue:,} are accepted"
            )
        if self.waiting + sentences > self._max_queue:
            raise RequestError(503, "the server is busy: its queue is full", retry_after=1)

    def submit(self, sentences: Sequence[str], options: SearchOptions, timeout: float) -> Job:
        """Queue sentences. Raises: RequestError if the queue is full."""
        self.check_space(len(sentences))
        deadline = asyncio.get_running_loop().time() + timeout
        job = Job(sentences, options, deadline)
        if sentences:
            self._jobs.append(job)
            self._wake.set()
        return job

    async def call(self, function: Callable[[], Result]) -> Result:
        """Run a function on one of the threads."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, function)

    async def close(self) -> None:
        """Search what is queued, then stop."""
        self._closing = True
        self._wake.set()
        await asyncio.gather(*self._tasks)
        self._pool.shutdown()

    async def _run(self) -> None:
        while not (self._closing and not self._jobs):
            batch = self._next_batch()
            if batch:
                await self._search(batch)
            elif not self._closing:
                await self._wake.wait()
                self._wake.clear()
                await self._gather()

    async def _gather(self) -> None:
        """Wait for requests that arrive together, such as those of clients that got their answers together."""
        start, before = time.monotonic(), -1
        while (
            self._searching and before < self.waiting < MAX_BATCH and time.monotonic() - start < MAX_GATHER_SECONDS
        ):
            before = self.waiting
            await asyncio.sleep(GATHER_SECONDS)

    def _next_batch(self) -> list[tuple[Job, int]]:
        """(job, number of a sentence) of the next batch: the oldest request's, and others of similar length."""
        now = asyncio.get_running_loop().time()
        for job in self._jobs:
            if job.pending and job.deadline <= now:
                job.fail(
                    RequestError(503, "the server is busy: no time was left for the translation", retry_after=5)
                )
        self._jobs = deque(job for job in self._jobs if job.pending)
        if not self._jobs:
            return []
        size = min(
            MAX_BATCH, -(-self.waiting // (self._threads - self._searching))
        )  # a share for each idle thread
        window = self._window()
        oldest = window[0]
        window.sort(key=lambda item: len(item[0].sentences[item[1]]))
        start = max(0, min(window.index(oldest) // size * size, len(window) - size))
        batch = window[start : start + size]
        for job, number in batch:
            job.pending.remove(number)
        self._jobs.rotate(-1)  # the next request has its turn
        return batch

    def _window(self) -> list[tuple[Job, int]]:
        """Sentences with the options of the oldest request, some of each request in turn."""
        options = self._jobs[0].options
        remaining = [(job, list(job.pending)) for job in self._jobs if job.options == options]
        window: list[tuple[Job, int]] = []
        turn = 0
        while remaining and len(window) < WINDOW:
            part = slice(turn, turn + TURN_SENTENCES)
            window += [(job, number) for job, numbers in remaining for number in numbers[part]]
            turn += TURN_SENTENCES
            remaining = [(job, numbers) for job, numbers in remaining if len(numbers) > turn]
        return window[:WINDOW]

    async def _search(self, batch: Sequence[tuple[Job, int]]) -> None:
        self._on_batch(len(batch))
        sentences, options = [job.sentences[number] for job, number in batch], batch[0][0].options
        error = None
        self._searching += 1
        try:
            translations = await self.call(lambda: self._translate(sentences, options))
        except RequestError as caught:
            error = caught
        except UserError as caught:
            error = RequestError(422, caught.what)
        except Exception as caught:
            # Not the message, which might quote the text.
            logger.error("search failed", extra={"facts": {"error": type(caught).__name__}})
            error = RequestError(500, "the translation failed")
        finally:
            self._searching -= 1
        if not error:
            for (job, number), translation in zip(batch, translations, strict=True):
                job.results[number] = translation
        for job, _ in batch:
            if error:
                job.fail(error)
            job.changed.set()
