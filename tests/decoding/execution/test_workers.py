"""Threads change who does the work and nothing else."""

from __future__ import annotations

import threading
import time

import pytest
import torch

from transformer_cli.decoding.execution.workers import BATCHES_PER_TASK, map_unordered, partition_batches


@pytest.mark.parametrize("threads", [0, 1, 2, 3])
def test_every_batch_once_with_its_own_result(threads: int) -> None:
    batches = [[i] for i in range(20)]
    found = list(map_unordered(batches, lambda b: b[0] ** 2, threads))
    assert sorted(found) == [i**2 for i in range(20)]
    assert list(map_unordered([], lambda b: b, threads)) == []


def test_batches_run_side_by_side_each_on_one_thread_of_torch() -> None:
    before = torch.get_num_threads()
    meeting = threading.Barrier(2, timeout=10)

    def work(batch: int) -> int:
        meeting.wait()  # passes only if two batches run at once
        return torch.get_num_threads()

    assert list(map_unordered([1, 2], work, 2)) == [1, 1]
    assert torch.get_num_threads() == before
    assert list(map_unordered([1], lambda task: torch.get_num_threads(), 1)) == [1]


def test_an_error_ends_the_whole() -> None:
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
def test_work_is_shared_out_evenly(count: int, budget: int, workers: int) -> None:
    lengths = sorted((1 + 7 * i % 30 for i in range(count)), reverse=True)
    shifts = partition_batches(lengths, budget, workers)
    batches = sorted(batch for shift in shifts for batch in shift)
    assert [i for start, end in batches for i in range(start, end)] == list(range(count)), "each sentence once"
    assert all(lengths[start] * (end - start) <= budget or end - start == 1 for start, end in batches)
    assert all(len(shift) <= BATCHES_PER_TASK for shift in shifts)
    assert all(shift == sorted(shift, reverse=True) for shift in shifts), "the shorter ones come first"
    if len(batches) >= workers:
        assert not len(shifts) % workers, "as many shifts for each worker"
    if count == 1000:
        sizes = [lengths[start] * (end - start) for start, end in batches]
        assert not len(batches) % workers and min(sizes) > 0.5 * max(sizes)
        steps = [sum(lengths[start] for start, _ in shift) for shift in shifts]
        assert min(steps) > 0.5 * max(steps) or len(batches) == workers, "as long as each other"
