"""Convolutions against torch's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from transformer_cli.ops.convolution import RingBuffer, windows


@pytest.mark.parametrize(("size", "dilation"), [(3, 1), (3, 4), (5, 2), (2, 3)])
@pytest.mark.parametrize("causal", [True, False])
def test_a_product_over_taps_is_a_convolution(size: int, dilation: int, causal: bool) -> None:
    if not causal and not size % 2:
        return
    x = torch.randn(2, 9, 4, dtype=torch.float64)
    weight = torch.randn(6, 4, size, dtype=torch.float64)  # [outputs, inputs, taps]
    reach = (size - 1) * dilation
    padded = F.pad(x.mT, (reach, 0) if causal else (reach // 2, reach // 2))
    expected = F.conv1d(padded, weight, dilation=dilation).mT
    found = windows(x, size, dilation, causal=causal) @ weight.permute(2, 1, 0).flatten(0, 1)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(("size", "dilation"), [(3, 1), (3, 4), (2, 3)])
def test_a_ring_reads_what_the_whole_sentence_would(size: int, dilation: int) -> None:
    x = torch.randn(2, 12, 4)
    expected, ring = windows(x, size, dilation, causal=True), RingBuffer.empty(2, (size - 1) * dilation, x)
    for t in range(12):
        seen, ring = ring.read(x[:, t : t + 1], size, dilation)
        assert torch.equal(seen[:, 0], expected[:, t])
