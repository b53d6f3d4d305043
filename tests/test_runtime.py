from __future__ import annotations

import contextlib

import pytest
import torch

from transformer_cli import runtime
from transformer_cli.runtime import matmul_dtype, matmul_precision, resolve_precision

CPU = torch.device("cpu")


@pytest.mark.parametrize("fast", [False, True])
def test_auto_selects_bf16_where_it_is_faster(fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "has_fast_bf16", lambda: fast)
    assert resolve_precision(CPU, "auto", 512) == ("bf16" if fast else "fp32")
    assert resolve_precision(CPU, "auto", 128) == "fp32"
    assert resolve_precision(torch.device("mps"), "auto", 512) == "fp32"
    for explicit in ("fp32", "bf16"):
        assert resolve_precision(CPU, explicit, 512) == resolve_precision(CPU, explicit, 128) == explicit


@pytest.mark.parametrize(
    ("amx", "avx512", "intel", "fast"),
    [
        (False, False, False, False),
        (False, True, False, True),
        (False, True, True, False),
        (True, True, True, True),
    ],
)
def test_processors_with_fast_bf16(
    amx: bool, avx512: bool, intel: bool, fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    monkeypatch.setattr(runtime, "is_intel", lambda: intel)
    assert runtime.has_fast_bf16() is fast


def test_matmul_precision_is_restored_after_an_error() -> None:
    float32, float64 = torch.zeros(1), torch.zeros(1, dtype=torch.float64)
    assert matmul_dtype(float32) == torch.float32
    with contextlib.suppress(ValueError), matmul_precision(CPU, "bf16"):
        assert matmul_dtype(float32) == torch.bfloat16
        assert matmul_dtype(float64) == torch.float64
        raise ValueError
    assert matmul_dtype(float32) == torch.float32
    with matmul_precision(CPU, "fp32"):
        assert matmul_dtype(float32) == torch.float32


def test_matmul_dtype_follows_autocast() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert matmul_dtype(torch.zeros(1)) == torch.bfloat16
