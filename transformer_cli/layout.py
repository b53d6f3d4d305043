"""How the sentences of a batch lie in a tensor.

Shapes: B sentences, L longest sentence, N = sum of the lengths.

    padded   [B, L, ...]   one row a sentence, filled up with padding
    packed   [N, ...]      sentences end to end, no padding

Pointwise modules work on `[..., D]` and never ask. Only `ops/` looks at the difference. Every index
is computed once, when the batch is made.
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
        lengths: `[B]` int64, tokens of each sentence.
        longest: L, the largest of them.
        tokens: N, their sum.
        is_packed: packed `[N, ...]` or padded `[B, L, ...]`.
        positions: place of each token in its sentence: `[L]` (padded, broadcasts) or `[N]` (packed).
        cu_seqlens: `[B + 1]` int32, where each sentence begins in the flat order.
        flat_index: `[N]` int64, row of each token in `[B * L]`; None if no row is padding.
        mask: `[B, L]` bool, True = a token; None if no row is padding.
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
        """Layout of `[B, L, ...]`. `lengths` are positive."""
        return _build(lengths, is_packed=False)

    @staticmethod
    def packed(lengths: Sequence[int] | NDArray[np.int64]) -> Layout:
        """Layout of `[N, ...]`. `lengths` are positive."""
        return _build(lengths, is_packed=True)

    @staticmethod
    def static(lengths: Tensor, *, sentences: int, tokens: int, max_seqlen: int) -> Layout:
        """Layout of `[tokens, ...]` whose tensors have these shapes whatever the sentences: for a captured graph.

        Tokens that the sentences leave over make up sentences of their own, so that each token belongs to one and
        every kernel writes its row; places of sentences left over then are empty. The work is done where `lengths`
        lies, `[B]` int64, and asks it nothing: that they fit (see `TokenBudget.fits`) is for the caller to know.
        """
        device, left = lengths.device, sentences - len(lengths)
        # One place stays empty, for the sake of a mask.
        assert left > -(-tokens // max_seqlen), "more sentences than the shape holds"
        rest = tokens - lengths.sum()
        filler = (rest - max_seqlen * torch.arange(left, device=device)).clamp(0, max_seqlen)
        sizes = torch.cat([lengths, filler])
        cu_seqlens = F.pad(sizes.cumsum(0), (1, 0))
        places = torch.arange(tokens, device=device)
        sentence = torch.searchsorted(cu_seqlens, places, right=True) - 1  # of each token
        positions = places - cu_seqlens.index_select(0, sentence)
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
        """Any tensor in this layout -> `[N, ...]`, the tokens alone."""
        return x if self.is_packed else self.flatten_padded(x)

    def flatten_padded(self, x: Tensor) -> Tensor:
        """`[B, L, ...]` -> `[N, ...]`, whichever layout this is."""
        rows = x.reshape(-1, *x.shape[2:])
        return rows if self.flat_index is None else rows.index_select(0, self.flat_index)

    def pad(self, x: Tensor) -> Tensor:
        """Any tensor in this layout -> `[B, L, ...]`, padding filled with zeros."""
        if not self.is_packed:
            return x
        if self.flat_index is not None:
            rows = x.new_zeros(self.sentences * self.max_seqlen, *x.shape[1:])
            x = rows.index_copy(0, self.flat_index, x)
        return x.view(self.sentences, self.max_seqlen, *x.shape[1:])

    def unpad(self, x: Tensor) -> Tensor:
        """`[B, L, ...]` -> this layout; the inverse of `pad`."""
        return self.flatten_padded(x) if self.is_packed else x

    def to(self, device: torch.device) -> Layout:
        """The same layout with its indices on `device`."""
        return tree_map(self, lambda x: x.to(device, non_blocking=True))


def cat_padded(first: Tensor, second: Tensor, dim: int) -> Tensor:
    """`[B, ..., L, ...]` and `[B', ..., L', ...]` -> `[B + B', ..., max(L, L'), ...]`, filled up with zeros.

    `dim`: where L stands.
    """
    max_seqlen = max(first.shape[dim], second.shape[dim])
    return torch.cat([pad_to(x, dim, max_seqlen) for x in (first, second)])


def pad_to(x: Tensor, dim: int, max_seqlen: int) -> Tensor:
    """Zeros (False) at the end of a dimension until it has this size."""
    if x.shape[dim] == max_seqlen:
        return x
    return F.pad(x, (0, 0) * (x.ndim - 1 - dim) + (0, max_seqlen - x.shape[dim]))


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
