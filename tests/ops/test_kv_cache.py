"""Reordering the ancestry gives the same attention as reordering copies of the cache."""

from __future__ import annotations

import pytest
import torch

from transformer_cli.ops.attention import min_keys, reference_attention
from transformer_cli.ops.kv_cache import GROWTH, BeamAncestry, KeyValueCache

B, W, H, K = 2, 3, 2, 4


@pytest.mark.parametrize("static_from", [None, 1, 7])
def test_ancestry_equals_copied_caches(static_from: int | None) -> None:
    cache = KeyValueCache.empty(B, H, K, torch.empty(0, dtype=torch.float64))
    ancestry = BeamAncestry.empty(B, torch.device("cpu"))
    copied_k = torch.empty(B, 1, 0, H, K, dtype=torch.float64)
    copied_v = copied_k.clone()
    for position in range(GROWTH + 5):
        width = W if position else 1  # the first position has a single beam
        if position == static_from:
            ancestry = ancestry.to_static(GROWTH + 5)
            cache = cache.to_static(ancestry.visible.shape[-1])
        k, v, q = torch.randn(3, B, width, H, K, dtype=torch.float64)
        keys, values = cache.append(k, v, ancestry.cache_position)
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


def test_single_beam_has_a_mask_only_if_keys_are_padded() -> None:
    ancestry = BeamAncestry.empty(2, torch.device("cpu"))
    for count in range(1, 20):
        ancestry = ancestry.advance()
        mask, num_keys = ancestry.mask(), min_keys(count, torch.device("cpu"))
        if num_keys == count:
            assert mask is None
        else:
            assert mask is not None and mask.shape == (2, 1, 1, num_keys)
            assert mask[..., :count].all() and not mask[..., count:].any()
