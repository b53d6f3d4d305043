"""The queue of a model: sentences of requests that arrive together are searched together.

Requests take turns, so that a long text does not keep short ones waiting. All methods but `translate` run on the
event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from transformer_cli.decoding.request import TranslationRequest
from transformer_cli.decoding.translation import Translation
from transformer_cli.deployment.server.settings import RequestError
from transformer_cli.errors import UserError

BATCH_SENTENCES = 48
"""Sentences that are searched together: enough for an efficient search, few enough that answers do not wait."""
TURN_SENTENCES = 8
"""Sentences that a request contributes before the next one has its turn."""
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
    """

    sentences: Sequence[str]
    options: SearchOptions
    deadline: float
    results: list[Translation | None] = field(default_factory=list)
    started: int = 0
    error: RequestError | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def waiting(self) -> int:
        """Sentences that are not being searched yet."""
        return 0 if self.error else len(self.sentences) - self.started

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
        self.changed.set()


class BatchingWorker:
    """Searches the sentences of all requests for one model, one batch after the other, on a thread of its own."""

    def __init__(
        self,
        translate: Callable[[Sequence[str], SearchOptions], list[Translation]],
        max_queue: int,
        on_batch: Callable[[int], object] = lambda sentences: None,
    ) -> None:
        """
        Args:
            translate: called on the worker's thread.
            max_queue: sentences that may wait.
            on_batch: called with the size of each batch.
        """
        self._translate = translate
        self._max_queue = max_queue
        self._on_batch = on_batch
        self._jobs: deque[Job] = deque()
        self._wake = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="search")
        self._closing = False
        self._task = asyncio.create_task(self._run())

    @property
    def waiting(self) -> int:
        """Sentences that wait for their turn."""
        return sum(job.waiting for job in self._jobs)

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
        job = Job(sentences, options, deadline, [None] * len(sentences))
        if sentences:
            self._jobs.append(job)
            self._wake.set()
        return job

    async def call(self, function: Callable[[], Result]) -> Result:
        """Run a function between two batches."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)

    async def close(self) -> None:
        """Search what is queued, then stop."""
        self._closing = True
        self._wake.set()
        await self._task
        self._thread.shutdown()

    async def _run(self) -> None:
        while not (self._closing and not self._jobs):
            batch = self._next_batch()
            if batch:
                await self._search(batch)
            elif not self._closing:
                await self._wake.wait()
                self._wake.clear()

    def _next_batch(self) -> list[tuple[Job, int]]:
        """(job, number of a sentence) of the next batch; requests that have ended are dropped."""
        now = asyncio.get_running_loop().time()
        batch: list[tuple[Job, int]] = []
        others: list[Job] = []  # with other options: they are next
        options = None
        while self._jobs and len(batch) < BATCH_SENTENCES:
            job = self._jobs.popleft()
            if job.deadline <= now:
                job.fail(
                    RequestError(503, "the server is busy: no time was left for the translation", retry_after=5)
                )
            if not job.waiting:
                continue
            options = options or job.options
            if job.options != options:
                others.append(job)
                continue
            count = min(job.waiting, TURN_SENTENCES, BATCH_SENTENCES - len(batch))
            batch += [(job, number) for number in range(job.started, job.started + count)]
            job.started += count
            if job.waiting:
                self._jobs.append(job)
        self._jobs.extendleft(reversed(others))
        return batch

    async def _search(self, batch: Sequence[tuple[Job, int]]) -> None:
        self._on_batch(len(batch))
        sentences, options = [job.sentences[number] for job, number in batch], batch[0][0].options
        error = None
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
        if not error:
            for (job, number), translation in zip(batch, translations, strict=True):
                job.results[number] = translation
        for job, _ in batch:
            if error:
                job.fail(error)
            job.changed.set()
