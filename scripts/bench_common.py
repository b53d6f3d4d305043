"""Measurements and output shared by the benchmarks, for CPU and CUDA."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from torch import nn

T = TypeVar("T")
CPU = torch.device("cpu")


def synchronize(device: torch.device) -> None:
    """Wait for the work that was launched on a CUDA device; other devices return at once."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def timed(work: Callable[[], T], device: torch.device = CPU) -> tuple[float, T]:
    """Call `work` once; return the seconds until the device has finished it, and its result."""
    synchronize(device)
    start = time.perf_counter()
    result = work()
    synchronize(device)
    return time.perf_counter() - start, result


def median_seconds(work: Callable[[], object], device: torch.device, rounds: int, calls: int = 5) -> float:
    """Return the seconds of one call: median of `rounds` rounds of `calls` calls, after a warm-up round."""

    def run_round() -> None:
        for _ in range(calls):
            work()

    times = [timed(run_round, device)[0] / calls for _ in range(rounds + 1)]
    return statistics.median(times[1:])


def matmul_flops(device: torch.device, dtype: torch.dtype = torch.float32, seconds: float = 0.7) -> float:
    """Measure the FLOP/s of a square matrix product: the fastest one within `seconds`.

    The fastest, not the median: it depends least on other processes of a shared machine. The size is
    8,192 on CUDA, which a large GPU needs for its full speed, and 2,048 elsewhere.
    """
    size = 8192 if device.type == "cuda" else 2048
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    fastest, deadline = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < deadline:
        fastest = min(fastest, timed(lambda: a @ b, device)[0])
    return 2.0 * size**3 / fastest


def matmul_share(parameters: int, tokens_per_second: float, flops: float) -> float:
    """Return the training speed as a share of `flops`, the speed of the matrix product.

    A target token counts 6 FLOP per parameter: a multiply-add (2 FLOP) in the forward pass and two in the
    backward pass. The source is assumed to be as long as the target.
    """
    return 6 * parameters * tokens_per_second / flops


def num_parameters(model: nn.Module) -> int:
    """Return the number of parameters; shared parameters count once."""
    return sum(p.numel() for p in model.parameters())


def peak_rss_mib() -> int:
    """Return the peak resident memory of this process in MiB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def format_fields(fields: Mapping[str, object]) -> str:
    """Format a row of figures as one line: `name value, name value`."""
    return ", ".join(f"{name} {value}" for name, value in fields.items())
