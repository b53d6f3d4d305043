from __future__ import annotations

import contextlib

import pytest
import torch

from transformer_cli import runtime
from transformer_cli.runtime import matmul_dtype, matmul_precision, resolve_precision

CPU = torch.device("cpu")


@pytest.mark.parametrize("has", [False, True])
def test_auto_is_bf16_where_it_pays(has: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "has_fast_bf16", lambda: has)
    assert resolve_precision(CPU, "auto", 512) == ("bf16" if has else "fp32")
    assert resolve_precision(CPU, "auto", 128) == "fp32"
    assert resolve_precision(torch.device("mps"), "auto", 512) == "fp32"
    for asked in ("fp32", "bf16"):
        assert resolve_precision(CPU, asked, 512) == resolve_precision(CPU, asked, 128) == asked


@pytest.mark.parametrize(
    ("amx", "avx512", "intel", "faster"),
    [
        (False, False, False, False),
        (False, True, False, True),
        (False, True, True, False),
        (True, True, True, True),
    ],
)
def test_which_processors_are_faster_in_bf16(
    amx: bool, avx512: bool, intel: bool, faster: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    monkeypatch.setattr(runtime, "is_intel", lambda: intel)
    assert runtime.has_fast_bf16() is faster


def test_products_are_rounded_inside_only_and_after_an_error_no_more() -> None:
    single, double = torch.zeros(1), torch.zeros(1, dtype=torch.float64)
    assert matmul_dtype(single) == torch.float32
    with contextlib.suppress(ValueError), matmul_precision(CPU, "bf16"):
        assert matmul_dtype(single) == torch.bfloat16
        assert matmul_dtype(double) == torch.float64
        raise ValueError
    assert matmul_dtype(single) == torch.float32
    with matmul_precision(CPU, "fp32"):
        assert matmul_dtype(single) == torch.float32


def test_autocast_is_followed() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert matmul_dtype(torch.zeros(1)) == torch.bfloat16
