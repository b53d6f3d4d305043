"""The queue: what arrives together is searched together, in turns, within limits and deadlines."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest

from transformer_cli.decoding.translation import Translation
from transformer_cli.deployment.server.batching import MAX_BATCH, BatchingWorker, SearchOptions
from transformer_cli.deployment.server.settings import RequestError
from transformer_cli.errors import DataError

PLAIN, WIDE = SearchOptions(), SearchOptions((("beam", 7),))


class Engine:
    """Upper-cases sentences; `batches` has what was searched together."""

    def __init__(self, seconds: float = 0.02) -> None:
        self.seconds = seconds
        self.batches: list[tuple[list[str], SearchOptions]] = []

    def translate(self, sentences: Sequence[str], options: SearchOptions) -> list[Translation]:
        self.batches.append((list(sentences), options))
        time.sleep(self.seconds)
        if "fail" in sentences:
            raise DataError("no such term")
        if "crash" in sentences:
            raise ZeroDivisionError("secret")
        return [Translation(sentence.upper(), 0.0, "ok") for sentence in sentences]


async def ask(
    worker: BatchingWorker, sentences: Sequence[str], options: SearchOptions = PLAIN, timeout: float = 9
) -> list[str]:
    job = worker.submit(sentences, options, timeout)
    return [translation.text for translation in await job.wait(len(sentences))]


def run(engine: Engine, scenario: Any, max_queue: int = 500, threads: int = 1) -> Any:
    async def main() -> Any:
        worker = BatchingWorker(engine.translate, max_queue, threads)
        try:
            return await scenario(worker)
        finally:
            await worker.close()

    return asyncio.run(main())


def test_what_arrives_together_is_searched_together_and_not_mixed_up() -> None:
    engine = Engine()
    jobs = [[f"{i} {j}" for j in range(i % 5)] for i in range(40)]

    async def scenario(worker: BatchingWorker) -> list[list[str]]:
        return await asyncio.gather(*(ask(worker, job) for job in jobs))

    for threads in (1, 2):
        engine.batches.clear()
        assert run(engine, scenario, threads=threads) == jobs
        assert len(engine.batches) <= 4 and max(len(batch) for batch, _ in engine.batches) <= MAX_BATCH


def test_only_equal_options_are_searched_together() -> None:
    engine = Engine()

    async def scenario(worker: BatchingWorker) -> list[list[str]]:
        return await asyncio.gather(*(ask(worker, [str(i)], (PLAIN, WIDE)[i % 2]) for i in range(20)))

    assert run(engine, scenario) == [[str(i)] for i in range(20)]
    assert all(int(sentence) % 2 == (options == WIDE) for batch, options in engine.batches for sentence in batch)


def test_a_long_text_does_not_keep_short_ones_waiting() -> None:
    engine = Engine()

    async def scenario(worker: BatchingWorker) -> tuple[int, int]:
        long = asyncio.create_task(ask(worker, [f"sentence {i}" for i in range(400)]))
        await asyncio.sleep(0)
        await ask(worker, ["a short one"])
        after_short = len(engine.batches)
        await long
        return after_short, len(engine.batches)

    after_short, after_all = run(engine, scenario)
    assert after_short <= 3 and after_all >= 8


def test_a_batch_has_sentences_of_similar_length() -> None:
    engine = Engine()
    sentences = ["X" * (1 + i * 7 % 100) for i in range(96)]

    async def scenario(worker: BatchingWorker) -> list[str]:
        return await ask(worker, sentences)

    assert run(engine, scenario) == sentences
    spread = [max(map(len, batch)) - min(map(len, batch)) for batch, _ in engine.batches]
    assert len(spread) == 2 and max(spread) < 60


def test_a_full_queue_refuses_at_once_and_recovers() -> None:
    engine = Engine(0.1)

    async def scenario(worker: BatchingWorker) -> list[str]:
        running = asyncio.create_task(ask(worker, ["a"] * 100))
        await asyncio.sleep(0.01)
        with pytest.raises(RequestError) as busy:
            worker.submit(["b"] * 60, PLAIN, 9)
        with pytest.raises(RequestError) as large:
            worker.submit(["b"] * 101, PLAIN, 9)
        assert (busy.value.status, busy.value.headers["retry-after"], large.value.status) == (503, "1", 413)
        await running
        return await ask(worker, ["b"] * 60)

    assert run(engine, scenario, max_queue=100) == ["B"] * 60


def test_a_deadline_ends_a_request_and_drops_its_sentences() -> None:
    engine = Engine(0.2)

    async def scenario(worker: BatchingWorker) -> None:
        with pytest.raises(RequestError) as caught:
            await ask(worker, ["a"] * 500, timeout=0.1)
        assert caught.value.status == 503 and worker.waiting == 0
        assert await ask(worker, ["b"]) == ["B"]

    run(engine, scenario)
    assert sum(len(batch) for batch, _ in engine.batches) <= MAX_BATCH + 1


def test_errors_belong_to_the_requests_of_the_batch() -> None:
    engine = Engine()

    async def scenario(worker: BatchingWorker) -> list[tuple[int, str]]:
        errors = []
        for word in ("fail", "crash"):
            with pytest.raises(RequestError) as caught:
                await ask(worker, [word])
            errors.append((caught.value.status, caught.value.message))
        assert await ask(worker, ["b"]) == ["B"]
        return errors

    assert run(engine, scenario) == [(422, "no such term"), (500, "the translation failed")]


def test_a_canceled_request_costs_nothing_more() -> None:
    engine = Engine(0.1)

    async def scenario(worker: BatchingWorker) -> None:
        job = worker.submit(["a"] * 400, PLAIN, 9)
        await asyncio.sleep(0.05)
        job.fail(RequestError(503, "the client has gone"))
        assert worker.waiting == 0

    run(engine, scenario)
    assert len(engine.batches) == 1


def test_closing_searches_what_is_queued() -> None:
    engine = Engine()

    async def main() -> list[Translation]:
        worker = BatchingWorker(engine.translate, 500)
        job = worker.submit(["a"] * 200, PLAIN, 9)
        await worker.close()
        return await job.wait(200)

    assert len(asyncio.run(main())) == 200
