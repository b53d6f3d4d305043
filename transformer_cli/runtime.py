"""The machine under the program: device, precision, and the process settings that make a CPU fast."""

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
BF16_WIDTH = 256
"""`d_model` from which bf16 pays on a CPU: 1.8 times the speed at 256, at 128 too little for the lost digits."""

_failed_graphs: list[torch.cuda.CUDAGraph] = []
_cpu_bf16: ContextVar[bool] = ContextVar("_cpu_bf16", default=False)


def select_device(name: str) -> torch.device:
    """`auto`, `cpu`, `cuda`, `cuda:1`, `mps` -> a device that is there.

    Raises:
        ConfigError: unknown name, or no such device on this machine.
    """
    has_mps = torch.backends.mps.is_available()
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if has_mps else "cpu"
    if name == "cuda":
        name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"  # torchrun: each process its own
    kind = name.partition(":")[0]
    if kind not in DEVICES:
        raise ConfigError(f"--device {name}: unknown", hint=f"known: {', '.join(DEVICES)}")
    if (kind == "cuda" and not torch.cuda.is_available()) or (kind == "mps" and not has_mps):
        raise ConfigError(f"--device {name}: this machine or this torch has none", hint="use --device auto")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"--device {name}: not a device name") from None
    if kind == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"--device {name}: this machine has {torch.cuda.device_count()} CUDA devices")
    if kind == "cuda":
        torch.cuda.set_device(device)  # graphs, streams and events are those of the current device
    return device


def resolve_precision(device: torch.device, precision: str, d_model: int) -> str:
    """`auto` -> `bf16` where that is faster: CUDA that has it, a CPU that has it and a model not too narrow."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        faster = torch.cuda.is_bf16_supported()
    else:
        faster = device.type == "cpu" and has_fast_bf16() and d_model >= BF16_WIDTH
    return "bf16" if faster else "fp32"


def has_fast_bf16() -> bool:
    """Whether this processor multiplies bf16 faster than fp32: by AMX, or by AVX-512 BF16 if it is not Intel's.

    Intel's do the latter at half the speed of fp32 (180 and 350 GFLOP/s on two cores), AMD's at about twice.
    """
    return torch.cpu._is_amx_tile_supported() or (torch.cpu._is_avx512_bf16_supported() and not is_intel())


@functools.cache
def is_intel() -> bool:
    """Whether the processor is Intel's own."""
    known = platform.processor()
    with contextlib.suppress(OSError):
        known += Path("/proc/cpuinfo").read_text(errors="replace")[:4096]
    return "GenuineIntel" in known


def matmul_precision(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Matrix products in `fp32` or `bf16`; weights, sums and the optimizer stay fp32 in both."""
    if precision == "fp32":
        return contextlib.nullcontext()
    return _cpu_bf16_context() if device.type == "cpu" else torch.autocast(device.type, dtype=torch.bfloat16)


@contextlib.contextmanager
def _cpu_bf16_context() -> Iterator[None]:
    before = _cpu_bf16.set(True)
    try:
        yield
    finally:
        _cpu_bf16.reset(before)


def uses_cpu_bf16(x: Tensor) -> bool:
    """Whether `matmul_precision` asks for products with x in bf16 where torch's autocast has no part in it."""
    if x.device.type != "cpu" or torch.compiler.is_compiling():  # which cannot look into a ContextVar
        return False
    return x.dtype == torch.float32 and _cpu_bf16.get()


def matmul_dtype(x: Tensor) -> torch.dtype:
    """The type that products with x are done in: that of x, or what `matmul_precision` asks for."""
    kind = x.device.type
    if torch.is_autocast_enabled(kind):
        return torch.get_autocast_dtype(kind)
    return torch.bfloat16 if uses_cpu_bf16(x) else x.dtype


def tune_process() -> None:
    """Settings of this process that cost nothing and change no result worth keeping.

    glibc returns each large block to the kernel when it is freed, and the kernel zeroes it page by page
    when it comes back: a training step pays that for every activation. Keeping blocks in the heap avoids it.
    Denormal numbers cost a hundred cycles each and mean nothing here. The first call of MKL's vector
    functions chooses their accuracy; when two threads make it at once, one in a hundred processes computes
    that call with fewer digits, and a resumed run would no longer equal the uninterrupted one bit for bit.
    """
    torch.zeros(1).exp_()
    if sys.platform == "linux":
        m_trim_threshold, m_mmap_threshold = -1, -3
        with contextlib.suppress(OSError, AttributeError):
            libc = ctypes.CDLL("libc.so.6")
            libc.mallopt(m_mmap_threshold, 1 << 30)
            libc.mallopt(m_trim_threshold, (1 << 31) - 1)
    torch.set_flush_denormal(True)


def capture_graph(work: Callable[[], object], pool: Any = None) -> tuple[torch.cuda.CUDAGraph | None, str]:
    """One CUDA graph of all that `work` launches, or why there is none; computes nothing.

    `pool`: memory that graphs share of which no two run at once. Raises: torch.OutOfMemoryError.
    """
    graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
    try:
        with torch.cuda.graph(graph, pool=pool):
            work()
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        # torch leaves a broken capture with its stream in force, and may still look at the graph.
        torch.cuda.set_stream(stream)
        _failed_graphs.append(graph)
        return None, str(error).strip().partition("\n")[0]
    return graph, ""
