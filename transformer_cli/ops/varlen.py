"""Attention of packed sentences by torch's variable-length kernel, on CUDA in half precision.

FlashAttention-2 (Dao 2023): only what lies within a sentence is computed.

Shapes: N query tokens, N_k key tokens, H heads, K head size. Its oracle is `ops.attention` on padded rows.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from transformer_cli.layout import Layout

varlen_attn: Callable[..., Any] | None
try:
    from torch.nn.attention.varlen import varlen_attn
except (ImportError, OSError):
    varlen_attn = None  # packed sentences are padded for attention then, and it is right all the same

WINDOWED = varlen_attn is not None and "window_size" in inspect.signature(varlen_attn).parameters
"""How this torch is told that a token sees only those before it: 2.11 and 2.13 differ."""


def is_varlen_available() -> bool:
    """Whether this torch has the kernel."""
    return varlen_attn is not None


def supports_varlen(q: Tensor) -> bool:
    """Whether the kernel takes these queries."""
    half = q.dtype in (torch.bfloat16, torch.float16)
    return is_varlen_available() and q.is_cuda and half and q.shape[-1] % 8 == 0 and q.shape[-1] <= 256


def varlen_attention(
    q: Tensor, k: Tensor, v: Tensor, q_layout: Layout, k_layout: Layout, *, causal: bool
) -> Tensor:
    """Queries `[N, H, K]` of each sentence attend to its keys and values `[N_k, H, K]` -> `[N, H, K]`."""
    assert varlen_attn is not None
    direction: dict[str, Any] = {"window_size": (-1, 0 if causal else -1)} if WINDOWED else {"is_causal": causal}
    out: Tensor = varlen_attn(
        q, k, v, q_layout.cu_seqlens, k_layout.cu_seqlens, q_layout.max_seqlen, k_layout.max_seqlen, **direction
    )
    return out
