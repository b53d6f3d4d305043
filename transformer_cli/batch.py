"""What the data hands to the training loop, and that to a model: pairs, and a batch of them as tensors.

The special ids stand here because both sides of the house (data and models) must agree on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from transformer_cli.layout import Layout
from transformer_cli.tree import tree_map

PAD, UNK, BOS, EOS = 0, 1, 2, 3

TokenIds = NDArray[np.int64]


@dataclass(frozen=True)
class DataPosition:
    """Where training stands in the data: the next batch that it will see."""

    epoch: int = 0
    batch: int = 0


class Sentences:
    """Sentences of ids, each ending with EOS, in one flat array."""

    def __init__(self, tokens: NDArray[Any], offsets: NDArray[np.int64]) -> None:
        self.tokens = tokens
        self.offsets = offsets
        self.lengths: TokenIds = np.diff(offsets)

    @staticmethod
    def pack(sentences: Sequence[TokenIds]) -> Sentences:
        """Ids without EOS -> a flat store; EOS is added to each."""
        offsets = np.concatenate([[0], np.cumsum([len(s) + 1 for s in sentences])]).astype(np.int64)
        tokens = np.full(offsets[-1], EOS, dtype=np.int32)
        mask = np.ones(len(tokens), dtype=bool)
        mask[offsets[1:] - 1] = False
        if sentences:
            tokens[mask] = np.concatenate(sentences)
        return Sentences(tokens, offsets)

    def __len__(self) -> int:
        return len(self.lengths)

    def select(self, rows: TokenIds) -> Sentences:
        """These alone, in this order."""
        lengths = self.lengths[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        places = np.arange(offsets[-1]) + np.repeat(self.offsets[rows] - offsets[:-1], lengths)
        return Sentences(np.asarray(self.tokens[places]), offsets)

    def __getitem__(self, row: int) -> TokenIds:
        return np.asarray(self.tokens[self.offsets[row] : self.offsets[row + 1]], dtype=np.int64)


@dataclass(frozen=True, eq=False)
class BatchPlan:
    """Pairs that make one batch, named by their place in a corpus and not yet laid out.

    Attributes:
        src, tgt: the corpus, P sentences on either side.
        rows: `[B]`, which of the P pairs.
        packed: how `batch` lays them.
    """

    src: Sentences
    tgt: Sentences
    rows: TokenIds
    packed: bool = False

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def tokens(self) -> int:
        """Target tokens: the unit of every speed and of the loss."""
        return int(self.tgt.lengths[self.rows].sum())

    @cached_property
    def padded_tokens(self) -> int:
        """Tokens of source and target with the padding of `batch`: what memory grows with."""
        sides = (side.lengths[self.rows] for side in (self.src, self.tgt))
        return sum(int(n.sum()) if self.packed else int(n.max()) * len(n) for n in sides)

    def split(self) -> list[BatchPlan]:
        """The first and the second half of the pairs; a single pair stays whole."""
        middle = len(self.rows) // 2
        return [replace(self, rows=rows) for rows in (self.rows[:middle], self.rows[middle:]) if len(rows)]

    def collate(self) -> Batch:
        """Their ids as tensors, on the CPU."""
        return collate([self.src[i] for i in self.rows], [self.tgt[i] for i in self.rows], packed=self.packed)


@dataclass(frozen=True)
class Batch:
    """B sentence pairs.

    Attributes:
        src: `[B, S]` or `[N_src]` int64, each sentence ends with EOS.
        tgt_in: `[B, T]` or `[N]` int64, BOS then the sentence: what the decoder reads.
        tgt_out: `[N]` int64, the sentence then EOS, flat and without padding: what it must say.
    """

    src: Tensor
    src_layout: Layout
    tgt_in: Tensor
    tgt_layout: Layout
    tgt_out: Tensor

    @property
    def tokens(self) -> int:
        """N, target tokens without padding."""
        return self.tgt_layout.tokens

    def to(self, device: torch.device) -> Batch:
        """The same batch on `device`."""
        return tree_map(self, lambda x: x.to(device, non_blocking=True))


@dataclass(frozen=True)
class TokenBudget:
    """What a packed batch of fixed shape holds: tokens of either side, sentences, tokens of one sentence."""

    tokens: int
    sentences: int
    longest: int

    def fits(self, pairs: BatchPlan) -> bool:
        """Whether both sides fit."""
        sides = [side.lengths[pairs.rows] for side in (pairs.src, pairs.tgt)]
        fits = all(n.sum() <= self.tokens and n.max() <= self.longest for n in sides)
        return fits and len(pairs) <= self.sentences

    def static_layout(self, lengths: Tensor) -> Layout:
        """Sentences of these lengths, `[B]` int64, in the fixed shape; what they leave over is filler."""
        places = self.sentences + -(-self.tokens // self.longest) + 1
        return Layout.static(lengths, sentences=places, tokens=self.tokens, max_seqlen=self.longest)


def collate_sentences(sentences: Sequence[TokenIds], *, packed: bool = False) -> tuple[Tensor, Layout]:
    """Token ids of B sentences -> (`[B, L]` or `[N]` int64, their layout). Padding is PAD."""
    lengths = np.fromiter((len(s) for s in sentences), dtype=np.int64, count=len(sentences))
    flat = torch.from_numpy(np.concatenate(sentences).astype(np.int64, copy=False))
    if packed:
        return flat, Layout.packed(lengths)
    layout = Layout.padded(lengths)
    if layout.flat_index is None:
        return flat.view(layout.sentences, layout.max_seqlen), layout
    rows = torch.full((layout.sentences * layout.max_seqlen,), PAD)
    rows[layout.flat_index] = flat
    return rows.view(layout.sentences, layout.max_seqlen), layout


def collate(src: Sequence[TokenIds], tgt: Sequence[TokenIds], *, packed: bool = False) -> Batch:
    """Pairs of token ids, each ending with EOS -> one `Batch`."""
    bos = np.array([BOS])
    src_rows, src_layout = collate_sentences(src, packed=packed)
    tgt_in, tgt_layout = collate_sentences([np.concatenate([bos, t[:-1]]) for t in tgt], packed=packed)
    tgt_out = torch.from_numpy(np.concatenate(tgt).astype(np.int64, copy=False))
    return Batch(src_rows, src_layout, tgt_in, tgt_layout, tgt_out)


def split_by_budget(lengths: Sequence[int], budget: int) -> list[tuple[int, int]]:
    """Consecutive ranges whose (longest · count) stays within `budget`, one element at least."""
    ranges = []
    start, longest = 0, 0
    for i, length in enumerate(lengths):
        longest = max(longest, length)
        if i > start and longest * (i + 1 - start) > budget:
            ranges.append((start, i))
            start, longest = i, length
    if len(lengths):
        ranges.append((start, len(lengths)))
    return ranges
