"""Scaled dot-product attention (Vaswani et al. 2017, section 3.2.1, equation 1).

Shapes: B sentences, T query positions, S key positions, H heads, K head size.

A kernel works on padded tensors, heads before positions, and knows nothing of sentences or causality:
`mask` says who may attend to whom (True = may). `reference_attention` is the paper's formula, step by
step, and the oracle of the tests; `fused_attention` is torch's fused implementation of the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from transformer_cli.layout import Layout, cat_padded, pad_to
from transformer_cli.ops.varlen import supports_varlen, varlen_attention

Kernel = Callable[[Tensor, Tensor, Tensor, Tensor | None, bool], Tensor]
"""(q `[B, H, T, K]`, k `[B, H, S, K]`, v `[B, H, S, K]`, mask, causal) -> `[B, H, T, K]`."""


def attention_weights(q: Tensor, k: Tensor, mask: Tensor | None = None, causal: bool = False) -> Tensor:
    """softmax(QKᵀ/√d_k): how much each query attends to each key.

    Args:
        q: `[B, H, T, K]`. k: `[B, H, S, K]`.
        mask: bool, broadcasts to `[B, H, T, S]`, True = may attend; every query may attend to something.
        causal: query t may attend to keys 0..t only.

    Returns:
        `[B, H, T, S]`, each row sums to 1.
    """
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])  # [B, H, T, S]
    if causal:
        allowed = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).tril()
        mask = allowed if mask is None else mask & allowed
    return masked_softmax(scores, mask)


def masked_softmax(scores: Tensor, mask: Tensor | None) -> Tensor:
    """Scores `[B, H, T, S]` -> weights; `mask` broadcasts to them, True = may attend."""
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    return scores.softmax(dim=-1)


def reference_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
    """softmax(QKᵀ/√d_k)V, equation 1, in the open."""
    return attention_weights(q, k, mask, causal) @ v  # [B, H, T, K]


def fused_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
    """Equation 1 by torch's fused kernel, which never writes the `[T, S]` weights to memory."""
    if causal and mask is not None:
        allowed = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool, device=q.device).tril()
        mask, causal = mask & allowed, False
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)


KERNELS: dict[str, Kernel] = {"fused": fused_attention, "reference": reference_attention}


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    q_layout: Layout,
    k_layout: Layout,
    *,
    causal: bool,
    kernel: Kernel = fused_attention,
) -> Tensor:
    """Attention within each sentence: queries of sentence b see the keys of sentence b only.

    Args:
        q: `[B, T, H, K]` or `[N, H, K]`, as `q_layout` says.
        k, v: `[B, S, H, K]` or `[N_k, H, K]`, as `k_layout` says.
        causal: position t sees positions 0..t; only for self-attention.

    Returns:
        Like `q`. Rows that are padding hold finite, meaningless values.
    """
    if kernel is fused_attention and q_layout.is_packed and k_layout.is_packed and supports_varlen(q):
        return varlen_attention(q, k, v, q_layout, k_layout, causal=causal)
    q, k, v = q_layout.pad(q), k_layout.pad(k), k_layout.pad(v)
    # Padding stands at the end of a sentence, so a causal query that is a token never sees it.
    mask = None if causal else key_mask(k_layout)
    q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)  # [B, H, T or S, K]
    out = kernel(q, k, v, mask, causal)
    return q_layout.unpad(out.transpose(1, 2))  # [B, T, H, K]


def step_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
    """Equation 1 for the few queries of a decoding step: on a CPU the fused kernel takes 1.3 times as long.

    `causal` is False: a step has no key of the future.
    """
    assert not causal
    # In half precision the fused kernel keeps scores and weights in fp32.
    if q.device.type != "cpu" or q.dtype.itemsize < 4:
        return fused_attention(q, k, v, mask, causal)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)  # [B, H, T, S]
    if mask is not None:
        scores.masked_fill_(~mask, -math.inf)
    return scores.softmax(dim=-1) @ v


def step_kernel(kernel: Kernel) -> Kernel:
    """The kernel for decoding steps where `kernel` is that for whole sentences."""
    return step_attention if kernel is fused_attention else kernel


def min_keys(count: int, device: torch.device) -> int:
    """How many keys a decoding step attends to when it has `count`; those beyond are masked.

    torch's softmax on a CPU takes up to ten times as long for a row that does not fill one vector register.
    """
    return max(count, 16) if device.type == "cpu" else count


def key_mask(layout: Layout, count: int | None = None) -> Tensor | None:
    """`[B, 1, 1, S]` bool, True = a key that is a token; None if no key is padding. `count`: a larger S."""
    count, mask = count or layout.max_seqlen, layout.mask
    if mask is None:
        if count == layout.max_seqlen:
            return None
        mask = layout.positions.new_ones(layout.sentences, layout.max_seqlen, dtype=torch.bool)
    return pad_to(mask, 1, count)[:, None, None, :]


def cat_key_masks(first: tuple[Tensor | None, Tensor], second: tuple[Tensor | None, Tensor]) -> Tensor | None:
    """`key_mask` of two batches, of all their sentences.

    Args:
        first, second: of each batch its `key_mask`, and any `[B, S]` that says how many sentences and keys it has.
    """
    if first[0] is None and second[0] is None and first[1].shape[1] == second[1].shape[1]:
        return None
    return cat_padded(_explicit_mask(*first), _explicit_mask(*second), dim=3)


def select_key_mask(mask: Tensor | None, sentences: Tensor) -> Tensor | None:
    """`key_mask` of the sentences `[B']`."""
    return None if mask is None else mask.index_select(0, sentences)


def static_key_mask(mask: Tensor | None, places: Tensor, count: int) -> Tensor:
    """`key_mask` in the open, `[B, 1, 1, count]`; `places` as in `cat_key_masks`."""
    return pad_to(_explicit_mask(mask, places), 3, count)


def _explicit_mask(mask: Tensor | None, places: Tensor) -> Tensor:
    return places.new_ones(places.shape, dtype=torch.bool)[:, None, None] if mask is None else mask
