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

from transformer_cli.tree import mapped


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
    longest: int
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
    def fixed(lengths: Tensor, *, sentences: int, tokens: int, longest: int) -> Layout:
        """Layout of `[tokens, ...]` whose tensors have these shapes whatever the sentences: for a captured graph.

        Tokens that the sentences leave over make up sentences of their own, so that each token belongs to one and
        every kernel writes its row; places of sentences left over then are empty. The work is done where `lengths`
        lies, `[B]` int64, and asks it nothing: that they fit (see `Budget.holds`) is for the caller to know.
        """
        device, left = lengths.device, sentences - len(lengths)
        # One place stays empty, for the sake of a mask.
        assert left > -(-tokens // longest), "more sentences than the shape holds"
        rest = tokens - lengths.sum()
        filler = (rest - longest * torch.arange(left, device=device)).clamp(0, longest)
        sizes = torch.cat([lengths, filler])
        cu_seqlens = F.pad(sizes.cumsum(0), (1, 0))
        places = torch.arange(tokens, device=device)
        sentence = torch.searchsorted(cu_seqlens, places, right=True) - 1  # of each token
        positions = places - cu_seqlens.index_select(0, sentence)
        return Layout(
            lengths=sizes,
            longest=longest,
            tokens=tokens,
            is_packed=True,
            positions=positions,
            cu_seqlens=cu_seqlens.int(),
            flat_index=sentence * longest + positions,
            mask=torch.arange(longest, device=device) < sizes[:, None],
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
            rows = x.new_zeros(self.sentences * self.longest, *x.shape[1:])
            x = rows.index_copy(0, self.flat_index, x)
        return x.view(self.sentences, self.longest, *x.shape[1:])

    def unpad(self, x: Tensor) -> Tensor:
        """`[B, L, ...]` -> this layout; the inverse of `pad`."""
        return self.flatten_padded(x) if self.is_packed else x

    def to(self, device: torch.device) -> Layout:
        """The same layout with its indices on `device`."""
        return mapped(self, lambda x: x.to(device, non_blocking=True))


def join_padded(first: Tensor, second: Tensor, dim: int) -> Tensor:
    """`[B, ..., L, ...]` and `[B', ..., L', ...]` -> `[B + B', ..., max(L, L'), ...]`, filled up with zeros.

    `dim`: where L stands.
    """
    longest = max(first.shape[dim], second.shape[dim])
    return torch.cat([fill(x, dim, longest) for x in (first, second)])


def fill(x: Tensor, dim: int, longest: int) -> Tensor:
    """Zeros (False) at the end of a dimension until it has this size."""
    if x.shape[dim] == longest:
        return x
    return F.pad(x, (0, 0) * (x.ndim - 1 - dim) + (0, longest - x.shape[dim]))


def _build(lengths: Sequence[int] | NDArray[np.int64], *, is_packed: bool) -> Layout:
    sizes = np.asarray(lengths, dtype=np.int64)
    assert sizes.ndim == 1 and len(sizes) and sizes.min() > 0, "a layout needs non-empty sentences"
    longest, tokens = int(sizes.max()), int(sizes.sum())
    columns = np.arange(longest)
    mask = columns[None, :] < sizes[:, None]  # [B, L]
    has_padding = tokens < mask.size
    positions = np.broadcast_to(columns, mask.shape)[mask] if is_packed else columns
    return Layout(
        lengths=torch.from_numpy(sizes),
        longest=longest,
        tokens=tokens,
        is_packed=is_packed,
        positions=torch.from_numpy(positions.copy()),
        cu_seqlens=torch.from_numpy(np.concatenate([[0], sizes.cumsum()]).astype(np.int32)),
        flat_index=torch.from_numpy(np.flatnonzero(mask)) if has_padding else None,
        mask=torch.from_numpy(mask) if has_padding else None,
    )
