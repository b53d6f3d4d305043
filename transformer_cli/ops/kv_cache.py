"""Key/value cache of incremental decoding, written in place and never reordered.

Shapes: B sentences, W beams, H heads, K head size, N keys per sentence: one for each beam and
position so far.

The keys of all beams of a sentence are stored in one row. Reordering the beams copies no keys: it
only updates the `BeamAncestry`, the mask of the keys that belong to the history of each beam. Beams
are therefore query positions of one attention call.

A static cache is allocated for all N keys in advance; the shapes and addresses of its tensors do
not change, as a captured CUDA graph requires.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from transformer_cli.layout import cat_padded, pad_to
from transformer_cli.ops.attention import min_keys

GROWTH = 32
"""Number of positions by which the capacity grows."""


@dataclass
class KeyValueCache:
    """Keys and values of one layer, `[B, H, capacity, K]` each. The caller tracks which entries are in use."""

    keys: Tensor
    values: Tensor

    @property
    def mask_like(self) -> Tensor:
        """`[B, capacity]`: a tensor with one element per key, for its shape and device."""
        return self.keys[:, 0, :, 0]

    @staticmethod
    def empty(sentences: int, heads: int, size: int, like: Tensor) -> KeyValueCache:
        no_keys = like.new_empty(sentences, heads, 0, size)
        return KeyValueCache(no_keys, no_keys)

    def append(self, k: Tensor, v: Tensor, cache_position: int | Tensor) -> tuple[Tensor, Tensor]:
        """Write the keys and values of one position and return those of all positions so far.

        Args:
            k, v: `[B, W, H, K]`.
            cache_position: the number of keys written before; for a static cache the indices of the
                new keys, `[W]` int64.

        Returns:
            Keys and values, `[B, H, N, K]` each, padded with zeros up to `min_keys`; those of a
            static cache are returned in full.
        """
        if isinstance(cache_position, Tensor):
            self.keys.index_copy_(2, cache_position, k.transpose(1, 2))
            self.values.index_copy_(2, cache_position, v.transpose(1, 2))
            return self.keys, self.values
        start, end = cache_position, cache_position + k.shape[1]
        if end > self.keys.shape[2]:
            padding = (0, 0, 0, GROWTH * k.shape[1])
            self.keys = torch.nn.functional.pad(self.keys, padding)
            self.values = torch.nn.functional.pad(self.values, padding)
        self.keys[:, :, start:end] = k.transpose(1, 2)
        self.values[:, :, start:end] = v.transpose(1, 2)
        num_keys = min_keys(end, k.device)
        return self.keys[:, :, :num_keys], self.values[:, :, :num_keys]

    def select(self, sentences: Tensor) -> KeyValueCache:
        """Select the rows of `sentences`, `[B']`."""
        return KeyValueCache(self.keys.index_select(0, sentences), self.values.index_select(0, sentences))

    def cat(self, other: KeyValueCache) -> KeyValueCache:
        """Append the sentences of another cache."""
        return KeyValueCache(cat_padded(self.keys, other.keys, 2), cat_padded(self.values, other.values, 2))

    def to_static(self, count: int) -> KeyValueCache:
        """Pad to a fixed capacity of `count` keys."""
        return KeyValueCache(pad_to(self.keys, 2, count), pad_to(self.values, 2, count))


@dataclass(frozen=True)
class BeamAncestry:
    """The keys in the history of each beam.

    Attributes:
        visible: `[B, W, N]` bool, True = the key belongs to the history of the beam.
        slots: for a static cache, the indices of the keys of the next position, `[W]` int64;
            otherwise None.
    """

    visible: Tensor
    slots: Tensor | None = None

    @staticmethod
    def empty(sentences: int, device: torch.device) -> BeamAncestry:
        return BeamAncestry(torch.empty(sentences, 1, 0, dtype=torch.bool, device=device))

    @property
    def cache_position(self) -> int | Tensor:
        """Where the keys of the next position are written; see `KeyValueCache.append`."""
        return self.visible.shape[-1] if self.slots is None else self.slots

    def advance(self) -> BeamAncestry:
        """Add one position: each beam writes one key, visible only to itself and its descendants."""
        sentences, width, _ = self.visible.shape
        new_keys = torch.eye(width, dtype=torch.bool, device=self.visible.device).expand(sentences, -1, -1)
        if self.slots is None:
            return BeamAncestry(torch.cat([self.visible, new_keys], dim=-1))
        return BeamAncestry(self.visible.index_copy(2, self.slots, new_keys), self.slots + width)

    def reorder(self, parents: Tensor) -> BeamAncestry:
        """Beam w continues beam `parents[b, w]`; `[B, W']`, W' >= W."""
        assert parents.shape[1] >= self.visible.shape[1], "the number of beams cannot decrease"
        index = parents.unsqueeze(-1).expand(-1, -1, self.visible.shape[-1])
        return BeamAncestry(self.visible.gather(1, index), self.slots)

    def select(self, sentences: Tensor) -> BeamAncestry:
        return BeamAncestry(self.visible.index_select(0, sentences), self.slots)

    def cat(self, other: BeamAncestry) -> BeamAncestry:
        return BeamAncestry(torch.cat([self.visible, other.visible]))

    def to_static(self, positions: int) -> BeamAncestry:
        """Pad to a fixed capacity of `positions` positions, W keys each."""
        width, num_keys = self.visible.shape[1:]
        slots = self.slots
        if slots is None:
            slots = torch.arange(num_keys, num_keys + width, device=self.visible.device)
        return BeamAncestry(pad_to(self.visible, 2, positions * width), slots)

    def mask(self) -> Tensor | None:
        """`[B, 1, W, N]` bool, True = a key in the history of the beam; None if a single beam sees every key."""
        if self.slots is not None:
            return self.visible.unsqueeze(1)
        _, width, written = self.visible.shape
        num_keys = min_keys(written, self.visible.device)
        if width == 1 and num_keys == written:
            return None
        return pad_to(self.visible, 2, num_keys).unsqueeze(1)
