"""Worker threads return the result of every task, run concurrently, and share the work evenly."""

from __future__ import annotations

import threading
import time

import pytest
import torch

from transformer_cli.decoding.execution.workers import BATCHES_PER_TASK, map_unordered, partition_batches


@pytest.mark.parametrize("threads", [0, 1, 2, 3])
def test_every_task_runs_once(threads: int) -> None:
    batches = [[i] for i in range(20)]
    results = list(map_unordered(batches, lambda b: b[0] ** 2, threads))
    assert sorted(results) == [i**2 for i in range(20)]
    assert list(map_unordered([], lambda b: b, threads)) == []


def test_tasks_run_concurrently_with_one_torch_thread_each() -> None:
    before = torch.get_num_threads()
    barrier = threading.Barrier(2, timeout=10)

    def work(batch: int) -> int:
        barrier.wait()  # passes only if two tasks run at the same time
        return torch.get_num_threads()

    assert list(map_unordered([1, 2], work, 2)) == [1, 1]
    assert torch.get_num_threads() == before
    assert list(map_unordered([1], lambda task: torch.get_num_threads(), 1)) == [1]


def test_an_error_cancels_waiting_tasks() -> None:
    started = []

    def work(batch: int) -> int:
        started.append(batch)
        time.sleep(0.01)
        if batch == 2:
            raise ValueError("two")
        return batch

    with pytest.raises(ValueError, match="two"):
        list(map_unordered(range(50), work, 2))
    assert len(started) < 10


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize(
    ("count", "budget"), [(0, 100), (1, 100), (5, 100), (300, 64), (1000, 400), (1000, 10**6)]
)
def test_work_is_balanced(count: int, budget: int, workers: int) -> None:
    lengths = sorted((1 + 7 * i % 30 for i in range(count)), reverse=True)
    tasks = partition_batches(lengths, budget, workers)
    batches = sorted(batch for task in tasks for batch in task)
    assert [i for start, end in batches for i in range(start, end)] == list(range(count)), "each sentence once"
    assert all(lengths[start] * (end - start) <= budget or end - start == 1 for start, end in batches)
    assert all(len(task) <= BATCHES_PER_TASK for task in tasks)
    assert all(task == sorted(task, reverse=True) for task in tasks), "shorter sentences come first"
    if len(batches) >= workers:
        assert not len(tasks) % workers, "the same number of tasks for each worker"
    if count == 1000:
        sizes = [lengths[start] * (end - start) for start, end in batches]
        assert not len(batches) % workers and min(sizes) > 0.5 * max(sizes)
        steps = [sum(lengths[start] for start, _ in task) for task in tasks]
        assert min(steps) > 0.5 * max(steps) or len(batches) == workers, "tasks of similar length"
