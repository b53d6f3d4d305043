"""Convolutions compared with `torch.nn.functional.conv1d`."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from transformer_cli.ops.convolution import RingBuffer, windows


@pytest.mark.parametrize(("kernel_size", "dilation"), [(3, 1), (3, 4), (5, 2), (2, 3)])
@pytest.mark.parametrize("causal", [True, False])
def test_product_over_windows_equals_conv1d(kernel_size: int, dilation: int, causal: bool) -> None:
    if not causal and not kernel_size % 2:
        return
    x = torch.randn(2, 9, 4, dtype=torch.float64)
    weight = torch.randn(6, 4, kernel_size, dtype=torch.float64)  # [outputs, inputs, kernel_size]
    context = (kernel_size - 1) * dilation
    padded = F.pad(x.mT, (context, 0) if causal else (context // 2, context // 2))
    expected = F.conv1d(padded, weight, dilation=dilation).mT
    out = windows(x, kernel_size, dilation, causal=causal) @ weight.permute(2, 1, 0).flatten(0, 1)
    torch.testing.assert_close(out, expected)


@pytest.mark.parametrize(("kernel_size", "dilation"), [(3, 1), (3, 4), (2, 3)])
def test_ring_buffer_returns_the_windows_of_the_whole_sentence(kernel_size: int, dilation: int) -> None:
    x = torch.randn(2, 12, 4)
    expected = windows(x, kernel_size, dilation, causal=True)
    ring = RingBuffer.empty(2, (kernel_size - 1) * dilation, x)
    for t in range(12):
        window, ring = ring.push(x[:, t : t + 1], kernel_size, dilation)
        assert torch.equal(window[:, 0], expected[:, t])
