"""Threads change who does the work and nothing else."""

from __future__ import annotations

import threading
import time

import pytest
import torch

from transformer_cli.decoding.workers import each_batch


@pytest.mark.parametrize("threads", [0, 1, 2, 3])
def test_every_batch_once_with_its_own_result(threads: int) -> None:
    batches = [[i] for i in range(20)]
    found = list(each_batch(batches, lambda b: b[0] ** 2, threads))
    assert sorted(b[0] for b, _ in found) == list(range(20))
    assert all(result == b[0] ** 2 for b, result in found)
    assert list(each_batch([], lambda b: b, threads)) == []


def test_batches_run_side_by_side_each_on_one_thread_of_torch() -> None:
    before = torch.get_num_threads()
    meeting = threading.Barrier(2, timeout=10)

    def work(batch: int) -> int:
        meeting.wait()  # passes only if two batches run at once
        return torch.get_num_threads()

    assert [threads for _, threads in each_batch([1, 2], work, 2)] == [1, 1]
    assert torch.get_num_threads() == before


def test_an_error_ends_the_whole() -> None:
    started = []

    def work(batch: int) -> int:
        started.append(batch)
        time.sleep(0.01)
        if batch == 2:
            raise ValueError("two")
        return batch

    with pytest.raises(ValueError, match="two"):
        list(each_batch(range(50), work, 2))
    assert len(started) < 10
