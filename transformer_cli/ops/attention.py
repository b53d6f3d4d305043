"""Scaled dot-product attention (Vaswani et al. 2017, section 3.2.1, equation 1).

Shapes: B sentences, T query positions, S key positions, H heads, K head size.

A kernel works on padded tensors with heads before positions; `mask` is True where a query may
attend to a key. `reference_attention` follows the paper's formula step by step and is the reference
in the tests; `fused_attention` calls torch's fused implementation of the same formula.
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
    """Compute the attention weights softmax(QKᵀ/√d_k).

    Args:
        q: `[B, H, T, K]`.
        k: `[B, H, S, K]`.
        mask: bool, broadcasts to `[B, H, T, S]`, True = may attend. Every query needs at least one
            key.
        causal: query t attends to keys 0..t only.

    Returns:
        `[B, H, T, S]`, each row sums to 1.
    """
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])  # [B, H, T, S]
    if causal:
        allowed = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).tril()
        mask = allowed if mask is None else mask & allowed
    return masked_softmax(scores, mask)


def masked_softmax(scores: Tensor, mask: Tensor | None) -> Tensor:
    """Softmax of scores `[B, H, T, S]` over the keys; `mask` broadcasts to them, True = may attend."""
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    return scores.softmax(dim=-1)


def reference_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
    """softmax(QKᵀ/√d_k)V (equation 1), with explicit weights."""
    return attention_weights(q, k, mask, causal) @ v  # [B, H, T, K]


def fused_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
    """Equation 1 with torch's fused kernel, which does not store the `[T, S]` weights."""
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
    """Attention within each sentence: queries of sentence b attend to keys of sentence b only.

    Args:
        q: `[B, T, H, K]` or `[N, H, K]`, as described by `q_layout`.
        k, v: `[B, S, H, K]` or `[N_k, H, K]`, as described by `k_layout`.
        causal: position t attends to positions 0..t; for self-attention only.
        kernel: the implementation for padded tensors; packed tensors use the variable-length kernel
            if it is available and `kernel` is `fused_attention`.

    Returns:
        Same shape as `q`. Padding rows contain finite but meaningless values.
    """
    if kernel is fused_attention and q_layout.is_packed and k_layout.is_packed and supports_varlen(q):
        return varlen_attention(q, k, v, q_layout, k_layout, causal=causal)
    q, k, v = q_layout.pad(q), k_layout.pad(k), k_layout.pad(v)
    # Padding follows the tokens, so the causal mask already hides it from every query that is a token.
    mask = None if causal else key_mask(k_layout)
    q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)  # [B, H, T or S, K]
    out = kernel(q, k, v, mask, causal)
    return q_layout.unpad(out.transpose(1, 2))  # [B, T, H, K]


def step_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
    """Equation 1 for the few queries of a decoding step: on a CPU the fused kernel takes 1.3 times as long.

    `causal` must be False: a decoding step has no future keys.
    """
    assert not causal
    # The fused kernel computes half-precision scores and weights in fp32; the formula below would not.
    if q.device.type != "cpu" or q.dtype.itemsize < 4:
        return fused_attention(q, k, v, mask, causal)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)  # [B, H, T, S]
    if mask is not None:
        scores.masked_fill_(~mask, -math.inf)
    return scores.softmax(dim=-1) @ v


def step_kernel(kernel: Kernel) -> Kernel:
    """Return the decoding-step counterpart of a kernel for whole sentences."""
    return step_attention if kernel is fused_attention else kernel


def min_keys(count: int, device: torch.device) -> int:
    """Number of keys to pass to a decoding step that has `count` of them; the additional keys are masked.

    torch's softmax on a CPU takes up to ten times as long for a row that does not fill one vector
    register.
    """
    return max(count, 16) if device.type == "cpu" else count


def key_mask(layout: Layout, count: int | None = None) -> Tensor | None:
    """Mask of the keys that are tokens.

    Args:
        count: S, at least `layout.max_seqlen` (the default).

    Returns:
        `[B, 1, 1, S]` bool, True = a token; None if no key is padding.
    """
    count, mask = count or layout.max_seqlen, layout.mask
    if mask is None:
        if count == layout.max_seqlen:
            return None
        mask = layout.positions.new_ones(layout.sentences, layout.max_seqlen, dtype=torch.bool)
    return pad_to(mask, 1, count)[:, None, None, :]


def cat_key_masks(first: tuple[Tensor | None, Tensor], second: tuple[Tensor | None, Tensor]) -> Tensor | None:
    """Concatenate the key masks of two batches along the sentences.

    Args:
        first, second: the `key_mask` of each batch and any `[B, S]` tensor, whose shape and device
            define the mask where `key_mask` is None.
    """
    if first[0] is None and second[0] is None and first[1].shape[1] == second[1].shape[1]:
        return None
    return cat_padded(_explicit_mask(*first), _explicit_mask(*second), dim=3)


def select_key_mask(mask: Tensor | None, sentences: Tensor) -> Tensor | None:
    """Select the rows of a `key_mask` that belong to `sentences`, `[B']`."""
    return None if mask is None else mask.index_select(0, sentences)


def static_key_mask(mask: Tensor | None, like: Tensor, count: int) -> Tensor:
    """An explicit `key_mask`, `[B, 1, 1, count]`; `like`: `[B, S]`, as in `cat_key_masks`."""
    return pad_to(_explicit_mask(mask, like), 3, count)


def _explicit_mask(mask: Tensor | None, like: Tensor) -> Tensor:
    return like.new_ones(like.shape, dtype=torch.bool)[:, None, None] if mask is None else mask
