"""Buckets double; asynchronous results are copies. `test_static_search.py` tests graphs and their pool."""

from __future__ import annotations

import torch

from transformer_cli.decoding.execution.cuda_graphs import AsyncResult, bucket_size


def test_bucket_sizes_double() -> None:
    assert [bucket_size(n, 16) for n in (1, 16, 17, 33, 64)] == [16, 16, 32, 64, 64]


def test_an_async_result_is_a_copy() -> None:
    tensor = torch.tensor([True, False])
    result = AsyncResult(tensor)
    tensor[:] = False
    assert result.read() == [True, False]
