"""Device selection, precision, process settings and CUDA graph capture."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from transformer_cli.errors import ConfigError

DEVICES = ("auto", "cpu", "cuda", "mps")
BF16_MIN_D_MODEL = 256
"""Smallest `d_model` for which `auto` selects bf16 on a CPU: at 256 it is 1.8 times as fast as
fp32; at 128 the speed-up does not justify the loss of precision."""

_failed_graphs: list[torch.cuda.CUDAGraph] = []
"""Keeps graphs whose capture failed alive; see `capture_graph`."""
_cpu_bf16: ContextVar[bool] = ContextVar("_cpu_bf16", default=False)


def select_device(name: str) -> torch.device:
    """Return the device for `auto`, `cpu`, `cuda`, `cuda:1` or `mps`; a CUDA device becomes the current one.

    Raises:
        ConfigError: unknown name, or the device is not available.
    """
    has_mps = torch.backends.mps.is_available()
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if has_mps else "cpu"
    if name == "cuda":
        name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"  # torchrun: one device per process
    device_type = name.partition(":")[0]
    if device_type not in DEVICES:
        raise ConfigError(f"--device {name}: unknown device", hint=f"known: {', '.join(DEVICES)}")
    if (device_type == "cuda" and not torch.cuda.is_available()) or (device_type == "mps" and not has_mps):
        raise ConfigError(
            f"--device {name}: not available on this machine or in this torch", hint="use --device auto"
        )
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"--device {name}: invalid device name", hint="for example cpu or cuda:0") from None
    if device_type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise ConfigError(f"--device {name}: no such device", hint=f"CUDA devices found: {count}, numbered from 0")
    if device_type == "cuda":
        torch.cuda.set_device(device)  # graphs, streams and events use the current device
    return device


def resolve_precision(device: torch.device, precision: str, d_model: int) -> str:
    """Replace `auto` by `bf16` where it is faster, otherwise by `fp32`.

    bf16 is faster on CUDA devices that support it, and on CPUs with fast bf16 for models of at
    least `BF16_MIN_D_MODEL`.
    """
    if precision != "auto":
        return precision
    if device.type == "cuda":
        faster = torch.cuda.is_bf16_supported()
    else:
        faster = device.type == "cpu" and has_fast_bf16() and d_model >= BF16_MIN_D_MODEL
    return "bf16" if faster else "fp32"


def has_fast_bf16() -> bool:
    """Whether this processor multiplies bf16 faster than fp32.

    True for AMX, and for AVX-512 BF16 unless the processor is made by Intel: AVX-512 BF16 runs at
    half the speed of fp32 on Intel (180 against 350 GFLOP/s on two cores), and at about twice the
    speed on AMD.
    """
    return torch.cpu._is_amx_tile_supported() or (torch.cpu._is_avx512_bf16_supported() and not is_intel())


@functools.cache
def is_intel() -> bool:
    """Whether the processor is made by Intel."""
    description = platform.processor()
    with contextlib.suppress(OSError):
        description += Path("/proc/cpuinfo").read_text(errors="replace")[:4096]
    return "GenuineIntel" in description


def matmul_precision(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Context manager that runs matrix products in `fp32` or `bf16`.

    Weights, sums and optimizer state are fp32 in both. bf16 uses torch's autocast except on a CPU;
    see `ops.matmul`.
    """
    if precision == "fp32":
        return contextlib.nullcontext()
    return _cpu_bf16_context() if device.type == "cpu" else torch.autocast(device.type, dtype=torch.bfloat16)


@contextlib.contextmanager
def _cpu_bf16_context() -> Iterator[None]:
    token = _cpu_bf16.set(True)
    try:
        yield
    finally:
        _cpu_bf16.reset(token)


def uses_cpu_bf16(x: Tensor) -> bool:
    """Whether products with `x` run in bf16 without torch's autocast, as set by `matmul_precision`."""
    if x.device.type != "cpu" or torch.compiler.is_compiling():  # torch.compile cannot read a ContextVar
        return False
    return x.dtype == torch.float32 and _cpu_bf16.get()


def matmul_dtype(x: Tensor) -> torch.dtype:
    """Return the dtype of products with `x`: its own, or the one set by `matmul_precision` or autocast."""
    device_type = x.device.type
    if torch.is_autocast_enabled(device_type):
        return torch.get_autocast_dtype(device_type)
    return torch.bfloat16 if uses_cpu_bf16(x) else x.dtype


def tune_process() -> None:
    """Configure this process for speed and reproducibility.

    - glibc returns each freed large block to the kernel, which zeroes its pages when they are
      allocated again, for every activation of every training step. Here blocks stay in the heap.
    - Operations on denormal numbers take about a hundred cycles; they are flushed to zero.
    - The first call of MKL's vector functions selects their accuracy. If two threads make it at the
      same time, one process in a hundred computes that call less accurately, and a resumed run is
      not bit-identical to an uninterrupted one. The first call is made here, from one thread.
    """
    torch.zeros(1).exp_()
    if sys.platform == "linux":
        m_trim_threshold, m_mmap_threshold = -1, -3
        with contextlib.suppress(OSError, AttributeError):
            libc = ctypes.CDLL("libc.so.6")
            libc.mallopt(m_mmap_threshold, 1 << 30)
            libc.mallopt(m_trim_threshold, (1 << 31) - 1)
    torch.set_flush_denormal(True)


def capture_graph(fn: Callable[[], object], pool: Any = None) -> tuple[torch.cuda.CUDAGraph | None, str]:
    """Capture the kernels that `fn` launches as a CUDA graph, without running them.

    Args:
        pool: memory pool to share with other graphs; graphs of one pool must not run at the same
            time.

    Returns:
        The graph and an empty string, or None and the reason why the capture failed.

    Raises:
        torch.OutOfMemoryError: the capture ran out of memory.
    """
    graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
    try:
        with torch.cuda.graph(graph, pool=pool):
            fn()
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        # After a failed capture torch leaves the capture stream current and may still access the graph.
        torch.cuda.set_stream(stream)
        _failed_graphs.append(graph)
        return None, str(error).strip().partition("\n")[0]
    return graph, ""
