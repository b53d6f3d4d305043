"""Reordering by ancestry equals copying the cache."""

from __future__ import annotations

import pytest
import torch

from transformer_cli.ops.attention import min_keys, reference_attention
from transformer_cli.ops.kv_cache import GROWTH, BeamAncestry, KeyValueCache

B, W, H, K = 2, 3, 2, 4


@pytest.mark.parametrize("fixed_at", [None, 1, 7])
def test_ancestry_equals_copied_histories(fixed_at: int | None) -> None:
    cache = KeyValueCache.empty(B, H, K, torch.empty(0, dtype=torch.float64))
    ancestry = BeamAncestry.empty(B, torch.device("cpu"))
    copied_k = torch.empty(B, 1, 0, H, K, dtype=torch.float64)
    copied_v = copied_k.clone()
    for position in range(GROWTH + 5):
        width = W if position else 1  # all begin as one
        if position == fixed_at:
            ancestry = ancestry.to_static(GROWTH + 5)
            cache = cache.to_static(ancestry.visible.shape[-1])
        k, v, q = torch.randn(3, B, width, H, K, dtype=torch.float64)
        keys, values = cache.append(k, v, ancestry.written)
        ancestry = ancestry.advance()
        copied_k = torch.cat([copied_k, k[:, :, None]], dim=2)
        copied_v = torch.cat([copied_v, v[:, :, None]], dim=2)
        fast = reference_attention(q.transpose(1, 2), keys, values, ancestry.mask(), False)
        for w in range(width):
            slow = reference_attention(
                q[:, w : w + 1].transpose(1, 2), copied_k[:, w].transpose(1, 2), copied_v[:, w].transpose(1, 2),
                None, False,
            )  # fmt: skip
            torch.testing.assert_close(fast[:, :, w : w + 1], slow)
        parents = torch.randint(width, (B, W))
        ancestry = ancestry.reorder(parents)
        index = parents[:, :, None, None, None].expand(-1, -1, *copied_k.shape[2:])
        copied_k, copied_v = copied_k.gather(1, index), copied_v.gather(1, index)


def test_one_beam_needs_a_mask_only_for_what_fills_up_its_keys() -> None:
    ancestry = BeamAncestry.empty(2, torch.device("cpu"))
    for count in range(1, 20):
        ancestry = ancestry.advance()
        mask, shown = ancestry.mask(), min_keys(count, torch.device("cpu"))
        if shown == count:
            assert mask is None
        else:
            assert mask is not None and mask.shape == (2, 1, 1, shown)
            assert mask[..., :count].all() and not mask[..., count:].any()
