"""The machine under the program: device, precision, and the process settings that make a CPU fast."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from contextlib import AbstractContextManager

import torch

from transformer_cli.errors import ConfigError

DEVICES = ("auto", "cpu", "cuda", "mps")


def pick_device(name: str) -> torch.device:
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
    return device


def pick_precision(device: torch.device, precision: str) -> str:
    """`auto` -> `bf16` where CUDA has it, else `fp32`."""
    if precision != "auto":
        return precision
    return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"


def products_in(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Matrix products in `fp32` or `bf16`; weights, sums and the optimizer stay fp32 in both."""
    if precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


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
