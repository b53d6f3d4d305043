"""Sentence pairs and batches: the values that data, training and models exchange."""

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
from transformer_cli.token_ids import BOS, EOS, PAD, TokenIds
from transformer_cli.tree import tree_map


@dataclass(frozen=True)
class DataPosition:
    """Position in the training data: the next batch to be read."""

    epoch: int = 0
    batch: int = 0


class Sentences:
    """Sentences of token ids, each ending with EOS, in one flat array.

    Attributes:
        tokens: ids of all sentences, concatenated.
        offsets: start of each sentence in `tokens`, and the end of the last one.
        lengths: number of tokens of each sentence, including EOS.
    """

    def __init__(
        self, tokens: NDArray[Any], offsets: NDArray[np.int64], lengths: NDArray[np.int32] | None = None
    ) -> None:
        """`lengths`: if they are known already."""
        self.tokens = tokens
        self.offsets = offsets
        self.lengths: NDArray[np.int32] = np.diff(offsets).astype(np.int32) if lengths is None else lengths

    @staticmethod
    def pack(sentences: Sequence[TokenIds]) -> Sentences:
        """Concatenate sentences of ids without EOS; EOS is appended to each."""
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
        """Copy the sentences `rows`, in this order."""
        lengths = self.lengths[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        indices = np.arange(offsets[-1]) + np.repeat(self.offsets[rows] - offsets[:-1], lengths)
        return Sentences(np.asarray(self.tokens[indices]), offsets)

    def __getitem__(self, row: int) -> TokenIds:
        return np.asarray(self.tokens[self.offsets[row] : self.offsets[row + 1]], dtype=np.int64)


@dataclass(frozen=True, eq=False)
class BatchPlan:
    """The sentence pairs of one batch as row numbers of a corpus, before collation.

    Attributes:
        src, tgt: the corpus, P sentences on either side.
        rows: `[B]`, row numbers of the pairs, 0 to P - 1.
        packed: whether `collate` packs the sentences or pads them.
    """

    src: Sentences
    tgt: Sentences
    rows: TokenIds
    packed: bool = False

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def tokens(self) -> int:
        """Number of target tokens: the unit of the loss and of the reported throughput."""
        return int(self.tgt.lengths[self.rows].sum())

    @cached_property
    def padded_tokens(self) -> int:
        """Number of source and target tokens including padding: a measure of the memory of the batch."""
        sides = (side.lengths[self.rows] for side in (self.src, self.tgt))
        return sum(int(n.sum()) if self.packed else int(n.max()) * len(n) for n in sides)

    def split(self) -> list[BatchPlan]:
        """Split into two halves; a single pair is returned as it is."""
        middle = len(self.rows) // 2
        return [replace(self, rows=rows) for rows in (self.rows[:middle], self.rows[middle:]) if len(rows)]

    def collate(self) -> Batch:
        """Create the batch on the CPU."""
        return collate([self.src[i] for i in self.rows], [self.tgt[i] for i in self.rows], packed=self.packed)


@dataclass(frozen=True)
class Batch:
    """B sentence pairs.

    Attributes:
        src: `[B, S]` or `[N_src]` int64, each sentence ends with EOS.
        src_layout: layout of `src`.
        tgt_in: `[B, T]` or `[N]` int64, BOS then the sentence: the input of the decoder.
        tgt_layout: layout of `tgt_in`.
        tgt_out: `[N]` int64, the sentence then EOS, flat and without padding: the labels.
    """

    src: Tensor
    src_layout: Layout
    tgt_in: Tensor
    tgt_layout: Layout
    tgt_out: Tensor

    @property
    def tokens(self) -> int:
        """N, the number of target tokens without padding."""
        return self.tgt_layout.tokens

    def to(self, device: torch.device) -> Batch:
        """Move the batch to `device`."""
        return tree_map(self, lambda x: x.to(device, non_blocking=True))


@dataclass(frozen=True)
class TokenBudget:
    """Capacity of a packed batch of fixed shape.

    Attributes:
        tokens: maximum number of tokens on either side.
        sentences: maximum number of sentence pairs.
        max_length: maximum number of tokens of a sentence.
    """

    tokens: int
    sentences: int
    max_length: int

    def fits(self, plan: BatchPlan) -> bool:
        """Whether both sides of the batch are within the capacity."""
        sides = [side.lengths[plan.rows] for side in (plan.src, plan.tgt)]
        fits = all(n.sum() <= self.tokens and n.max() <= self.max_length for n in sides)
        return fits and len(plan) <= self.sentences

    def static_layout(self, lengths: Tensor) -> Layout:
        """Create the layout of fixed shape for sentences of these lengths, `[B]` int64; see `Layout.static`."""
        sentences = self.sentences + -(-self.tokens // self.max_length) + 1
        return Layout.static(lengths, sentences=sentences, tokens=self.tokens, max_seqlen=self.max_length)


def collate_sentences(sentences: Sequence[TokenIds], *, packed: bool = False) -> tuple[Tensor, Layout]:
    """Combine B sentences of ids into a tensor, `[B, L]` padded with PAD or `[N]`, and create its layout."""
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
    """Create a batch from pairs of token ids, each ending with EOS."""
    bos = np.array([BOS])
    src_rows, src_layout = collate_sentences(src, packed=packed)
    tgt_in, tgt_layout = collate_sentences([np.concatenate([bos, t[:-1]]) for t in tgt], packed=packed)
    tgt_out = torch.from_numpy(np.concatenate(tgt).astype(np.int64, copy=False))
    return Batch(src_rows, src_layout, tgt_in, tgt_layout, tgt_out)


def split_by_budget(lengths: Sequence[int], budget: int) -> list[tuple[int, int]]:
    """Split into consecutive ranges (start, end) of at most `budget` padded tokens or one element.

    The padded tokens of a range are its maximum length times its number of elements.
    """
    ranges = []
    start, max_length = 0, 0
    for i, length in enumerate(lengths):
        max_length = max(max_length, length)
        if i > start and max_length * (i + 1 - start) > budget:
            ranges.append((start, i))
            start, max_length = i, length
    if len(lengths):
        ranges.append((start, len(lengths)))
    return ranges
