"""Attention over packed sentences with torch's variable-length kernel, on CUDA in half precision.

FlashAttention-2 (Dao 2023) computes only scores within a sentence. `ops.attention` on padded
tensors is the reference.

Shapes: N query tokens, N_k key tokens, H heads, K head size.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from transformer_cli.layout import Layout

_kernel: Callable[..., Any] | None = None
_has_window_size = False
"""Whether causal attention is requested by `window_size` instead of `is_causal`; torch 2.11 and 2.13 differ."""
_is_loaded = False


def is_varlen_available() -> bool:
    """Whether the installed torch provides the kernel.

    The kernel is imported at the first call, because its import takes as long as that of torch. The result is
    stored in the module and not in a cache, which torch.compile could not trace.
    """
    global _kernel, _has_window_size, _is_loaded
    if not _is_loaded:
        with contextlib.suppress(
            ImportError, OSError
        ):  # `attend` then pads packed sentences, with the same result
            from torch.nn.attention.varlen import varlen_attn

            _kernel, _has_window_size = varlen_attn, "window_size" in inspect.signature(varlen_attn).parameters
        _is_loaded = True
    return _kernel is not None


def supports_varlen(q: Tensor) -> bool:
    """Whether the kernel supports the device, dtype and head size of these queries, `[..., K]`."""
    half = q.dtype in (torch.bfloat16, torch.float16)
    return q.is_cuda and half and q.shape[-1] % 8 == 0 and q.shape[-1] <= 256 and is_varlen_available()


def varlen_attention(
    q: Tensor, k: Tensor, v: Tensor, q_layout: Layout, k_layout: Layout, *, causal: bool
) -> Tensor:
    """Attention of queries `[N, H, K]` to keys and values `[N_k, H, K]` of their sentence -> `[N, H, K]`."""
    assert _kernel is not None, "call is_varlen_available() first"
    window = {"window_size": (-1, 0 if causal else -1)}
    direction: dict[str, Any] = window if _has_window_size else {"is_causal": causal}
    out: Tensor = _kernel(
        q, k, v, q_layout.cu_seqlens, k_layout.cu_seqlens, q_layout.max_seqlen, k_layout.max_seqlen, **direction
    )
    return out
