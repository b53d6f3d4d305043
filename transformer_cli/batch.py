"""The value that the training loop hands to a model: source, target, and how both lie.

The special ids stand here because both sides of the house (data and models) must agree on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from transformer_cli.layout import Layout

PAD, UNK, BOS, EOS = 0, 1, 2, 3

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Position:
    """Where training stands in the data: the next batch that it will see."""

    epoch: int = 0
    batch: int = 0


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
        """N, target tokens without padding: the unit of every speed and of the loss."""
        return self.tgt_layout.tokens

    def pairs(self) -> tuple[list[Ids], list[Ids]]:
        """Ids of each source and of each target, EOS at the end: what `collate` took. Of a batch on the CPU."""
        src = torch.split(self.src_layout.flatten(self.src), self.src_layout.lengths.tolist())
        tgt = torch.split(self.tgt_out, self.tgt_layout.lengths.tolist())
        return [x.numpy() for x in src], [x.numpy() for x in tgt]

    def halves(self) -> list[Batch]:
        """The same pairs as two batches, the first half and the second. Of a batch on the CPU."""
        src, tgt = self.pairs()
        middle, packed = len(src) // 2, self.src_layout.is_packed
        return [collate(src[half], tgt[half], packed=packed) for half in (slice(middle), slice(middle, None))]

    def to(self, device: torch.device) -> Batch:
        """The same batch on `device`."""
        return Batch(
            self.src.to(device, non_blocking=True),
            self.src_layout.to(device),
            self.tgt_in.to(device, non_blocking=True),
            self.tgt_layout.to(device),
            self.tgt_out.to(device, non_blocking=True),
        )


@dataclass(frozen=True)
class Budget:
    """What a packed batch of fixed shape holds: tokens of either side, sentences, tokens of one sentence."""

    tokens: int
    sentences: int
    longest: int

    def holds(self, batch: Batch) -> bool:
        """Whether both sides fit."""
        sides = (batch.src_layout, batch.tgt_layout)
        return all(
            side.tokens <= self.tokens and side.sentences <= self.sentences and side.longest <= self.longest
            for side in sides
        )

    def layout(self, lengths: Ids) -> Layout:
        """Sentences of these lengths in the fixed shape; what they leave over is filler."""
        filler = -(-self.tokens // self.longest) + 1
        places = self.sentences + filler + 1
        return Layout.fixed(lengths, sentences=places, tokens=self.tokens, longest=self.longest)


def lay(sentences: Sequence[Ids], *, packed: bool = False) -> tuple[Tensor, Layout]:
    """Token ids of B sentences -> (`[B, L]` or `[N]` int64, their layout). Padding is PAD."""
    lengths = np.fromiter((len(s) for s in sentences), dtype=np.int64, count=len(sentences))
    flat = torch.from_numpy(np.concatenate(sentences).astype(np.int64, copy=False))
    if packed:
        return flat, Layout.packed(lengths)
    layout = Layout.padded(lengths)
    if layout.flat_index is None:
        return flat.view(layout.sentences, layout.longest), layout
    rows = torch.full((layout.sentences * layout.longest,), PAD)
    rows[layout.flat_index] = flat
    return rows.view(layout.sentences, layout.longest), layout


def collate(src: Sequence[Ids], tgt: Sequence[Ids], *, packed: bool = False) -> Batch:
    """Pairs of token ids, each ending with EOS -> one `Batch`."""
    bos = np.array([BOS])
    src_rows, src_layout = lay(src, packed=packed)
    tgt_in, tgt_layout = lay([np.concatenate([bos, t[:-1]]) for t in tgt], packed=packed)
    tgt_out = torch.from_numpy(np.concatenate(tgt).astype(np.int64, copy=False))
    return Batch(src_rows, src_layout, tgt_in, tgt_layout, tgt_out)


def cut(lengths: Sequence[int], budget: int) -> list[tuple[int, int]]:
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
