"""The layout of the sentences of a batch in a tensor.

Shapes: B sentences, L length of the longest sentence, N sum of the lengths.

    padded   [B, L, ...]   one row per sentence, filled with padding at the end
    packed   [N, ...]      sentences concatenated without padding

Pointwise modules work on `[..., D]` in either layout; only `ops/` distinguishes the two. All
indices are computed once, when the batch is created.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from transformer_cli.tree import tree_map


@dataclass(frozen=True)
class Layout:
    """Lengths and boundaries of B sentences.

    Attributes:
        lengths: `[B]` int64, number of tokens of each sentence.
        max_seqlen: L, the largest length.
        tokens: N, the sum of the lengths.
        is_packed: whether tensors are packed, `[N, ...]`, or padded, `[B, L, ...]`.
        positions: position of each token in its sentence: `[L]` (padded, broadcasts) or `[N]`
            (packed).
        cu_seqlens: `[B + 1]` int32, cumulative lengths: the start of each sentence among the N
            tokens.
        flat_index: `[N]` int64, index of each token in `[B * L]`; None if there is no padding.
        mask: `[B, L]` bool, True = a token; None if there is no padding.
    """

    lengths: Tensor
    max_seqlen: int
    tokens: int
    is_packed: bool
    positions: Tensor
    cu_seqlens: Tensor
    flat_index: Tensor | None
    mask: Tensor | None

    @staticmethod
    def padded(lengths: Sequence[int] | NDArray[np.int64]) -> Layout:
        """Create the layout of `[B, L, ...]`. All lengths must be positive."""
        return _build(lengths, is_packed=False)

    @staticmethod
    def packed(lengths: Sequence[int] | NDArray[np.int64]) -> Layout:
        """Create the layout of `[N, ...]`. All lengths must be positive."""
        return _build(lengths, is_packed=True)

    @staticmethod
    def static(lengths: Tensor, *, sentences: int, tokens: int, max_seqlen: int) -> Layout:
        """Create a packed layout whose tensors have fixed shapes, for a captured CUDA graph.

        Unused tokens form filler sentences, so that every token belongs to a sentence and kernels
        write every row; the remaining sentences are empty. Everything is computed on the device of
        `lengths` without synchronization. The caller must ensure that the sentences fit; see
        `TokenBudget.fits`.

        Args:
            lengths: `[B]` int64.
            sentences: number of sentences in the layout, including filler.
            tokens: N, number of tokens including filler.
            max_seqlen: L, upper limit of the lengths.
        """
        device, unused = lengths.device, sentences - len(lengths)
        # At least one sentence stays empty, so that the mask always has padding.
        assert unused > -(-tokens // max_seqlen), "too many sentences for the static shape"
        unused_tokens = tokens - lengths.sum()
        filler = (unused_tokens - max_seqlen * torch.arange(unused, device=device)).clamp(0, max_seqlen)
        sizes = torch.cat([lengths, filler])
        cu_seqlens = F.pad(sizes.cumsum(0), (1, 0))
        indices = torch.arange(tokens, device=device)
        sentence = torch.searchsorted(cu_seqlens, indices, right=True) - 1  # [N], the sentence of each token
        positions = indices - cu_seqlens.index_select(0, sentence)
        return Layout(
            lengths=sizes,
            max_seqlen=max_seqlen,
            tokens=tokens,
            is_packed=True,
            positions=positions,
            cu_seqlens=cu_seqlens.int(),
            flat_index=sentence * max_seqlen + positions,
            mask=torch.arange(max_seqlen, device=device) < sizes[:, None],
        )

    @property
    def sentences(self) -> int:
        return len(self.lengths)

    def flatten(self, x: Tensor) -> Tensor:
        """Tensor in this layout -> `[N, ...]`, without padding."""
        return x if self.is_packed else self.flatten_padded(x)

    def flatten_padded(self, x: Tensor) -> Tensor:
        """`[B, L, ...]` -> `[N, ...]`, for packed layouts as well."""
        rows = x.reshape(-1, *x.shape[2:])
        return rows if self.flat_index is None else rows.index_select(0, self.flat_index)

    def pad(self, x: Tensor) -> Tensor:
        """Tensor in this layout -> `[B, L, ...]`. The padding of a packed tensor is zero."""
        if not self.is_packed:
            return x
        if self.flat_index is not None:
            rows = x.new_zeros(self.sentences * self.max_seqlen, *x.shape[1:])
            x = rows.index_copy(0, self.flat_index, x)
        return x.view(self.sentences, self.max_seqlen, *x.shape[1:])

    def unpad(self, x: Tensor) -> Tensor:
        """`[B, L, ...]` -> tensor in this layout; the inverse of `pad`."""
        return self.flatten_padded(x) if self.is_packed else x

    def to(self, device: torch.device) -> Layout:
        """Move the tensors of the layout to `device`."""
        return tree_map(self, lambda x: x.to(device, non_blocking=True))


def cat_padded(first: Tensor, second: Tensor, dim: int) -> Tensor:
    """Concatenate along dimension 0 after padding dimension `dim` with zeros to the larger size.

    `[B, ..., L, ...]` and `[B', ..., L', ...]` -> `[B + B', ..., max(L, L'), ...]`.
    """
    size = max(first.shape[dim], second.shape[dim])
    return torch.cat([pad_to(x, dim, size) for x in (first, second)])


def pad_to(x: Tensor, dim: int, size: int) -> Tensor:
    """Append zeros (False) to dimension `dim` up to `size`."""
    if x.shape[dim] == size:
        return x
    return F.pad(x, (0, 0) * (x.ndim - 1 - dim) + (0, size - x.shape[dim]))


def _build(lengths: Sequence[int] | NDArray[np.int64], *, is_packed: bool) -> Layout:
    sizes = np.asarray(lengths, dtype=np.int64)
    assert sizes.ndim == 1 and len(sizes) and sizes.min() > 0, "a layout needs non-empty sentences"
    max_seqlen, tokens = int(sizes.max()), int(sizes.sum())
    columns = np.arange(max_seqlen)
    mask = columns[None, :] < sizes[:, None]  # [B, L]
    has_padding = tokens < mask.size
    positions = np.broadcast_to(columns, mask.shape)[mask] if is_packed else columns
    return Layout(
        lengths=torch.from_numpy(sizes),
        max_seqlen=max_seqlen,
        tokens=tokens,
        is_packed=is_packed,
        positions=torch.from_numpy(positions.copy()),
        cu_seqlens=torch.from_numpy(np.concatenate([[0], sizes.cumsum()]).astype(np.int32)),
        flat_index=torch.from_numpy(np.flatnonzero(mask)) if has_padding else None,
        mask=torch.from_numpy(mask) if has_padding else None,
    )
