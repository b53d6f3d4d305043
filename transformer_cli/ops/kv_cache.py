"""Keys and values of the positions decoded so far, written in place.

Shapes: B sentences, W beams, H heads, K head size, N keys of a sentence so far: one for each beam and position.
A fixed cache has room for N keys from the beginning, and no shape or place of it changes: for a captured graph.

All beams of a sentence lie side by side in one row of keys. When search reorders the beams nothing is copied; only
the `BeamAncestry` changes, which says which keys belong to the history of each beam. So beams are query positions, and
the mask does the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from transformer_cli.layout import cat_padded, pad_to
from transformer_cli.ops.attention import min_keys

GROWTH = 32
"""Positions that a cache grows by at a time."""


@dataclass
class KeyValueCache:
    """Keys and values of one layer: `[B, H, capacity, K]`; which of them hold something is for others to know."""

    keys: Tensor
    values: Tensor

    @property
    def places(self) -> Tensor:
        """`[B, capacity]`: something for each key."""
        return self.keys[:, 0, :, 0]

    @staticmethod
    def empty(sentences: int, heads: int, size: int, like: Tensor) -> KeyValueCache:
        nothing = like.new_empty(sentences, heads, 0, size)
        return KeyValueCache(nothing, nothing)

    def append(self, k: Tensor, v: Tensor, written: int | Tensor) -> tuple[Tensor, Tensor]:
        """Write one position of W beams, `[B, W, H, K]`; return all keys and values so far, `[B, H, N, K]`.

        `written`: how many keys there are already, and of few keys more are returned, zeros, as `min_keys` says;
        of a fixed cache the places `[W]` of the new ones, and all keys are returned.
        """
        if isinstance(written, Tensor):
            self.keys.index_copy_(2, written, k.transpose(1, 2))
            self.values.index_copy_(2, written, v.transpose(1, 2))
            return self.keys, self.values
        start, end = written, written + k.shape[1]
        if end > self.keys.shape[2]:
            room = (0, 0, 0, GROWTH * k.shape[1])
            self.keys = torch.nn.functional.pad(self.keys, room)
            self.values = torch.nn.functional.pad(self.values, room)
        self.keys[:, :, start:end] = k.transpose(1, 2)
        self.values[:, :, start:end] = v.transpose(1, 2)
        shown = min_keys(end, k.device)
        return self.keys[:, :, :shown], self.values[:, :, :shown]

    def select(self, sentences: Tensor) -> KeyValueCache:
        """The rows of the sentences `[B']`."""
        return KeyValueCache(self.keys.index_select(0, sentences), self.values.index_select(0, sentences))

    def cat(self, other: KeyValueCache) -> KeyValueCache:
        """And after them the sentences of another cache."""
        return KeyValueCache(cat_padded(self.keys, other.keys, 2), cat_padded(self.values, other.values, 2))

    def to_static(self, count: int) -> KeyValueCache:
        """With room for so many keys."""
        return KeyValueCache(pad_to(self.keys, 2, count), pad_to(self.values, 2, count))


@dataclass(frozen=True)
class BeamAncestry:
    """Which keys each beam has in its history: `[B, W, N]` bool.

    `places` `[W]` int64: of a fixed cache, where the keys of the next position stand.
    """

    visible: Tensor
    places: Tensor | None = None

    @staticmethod
    def empty(sentences: int, device: torch.device) -> BeamAncestry:
        return BeamAncestry(torch.empty(sentences, 1, 0, dtype=torch.bool, device=device))

    @property
    def written(self) -> int | Tensor:
        """What `KeyValueCache.append` wants to know."""
        return self.visible.shape[-1] if self.places is None else self.places

    def advance(self) -> BeamAncestry:
        """Each beam writes one more key, its own."""
        sentences, width, _ = self.visible.shape
        own = torch.eye(width, dtype=torch.bool, device=self.visible.device).expand(sentences, -1, -1)
        if self.places is None:
            return BeamAncestry(torch.cat([self.visible, own], dim=-1))
        return BeamAncestry(self.visible.index_copy(2, self.places, own), self.places + width)

    def reorder(self, parents: Tensor) -> BeamAncestry:
        """Beam w continues beam `parents[b, w]`: `[B, W']`, W' at least W."""
        assert parents.shape[1] >= self.visible.shape[1], "one beam would not be alone with its keys"
        index = parents.unsqueeze(-1).expand(-1, -1, self.visible.shape[-1])
        return BeamAncestry(self.visible.gather(1, index), self.places)

    def select(self, sentences: Tensor) -> BeamAncestry:
        return BeamAncestry(self.visible.index_select(0, sentences), self.places)

    def cat(self, other: BeamAncestry) -> BeamAncestry:
        return BeamAncestry(torch.cat([self.visible, other.visible]))

    def to_static(self, positions: int) -> BeamAncestry:
        """With room for the keys of so many positions."""
        width, written = self.visible.shape[1:]
        places = self.places
        if places is None:
            places = torch.arange(written, written + width, device=self.visible.device)
        return BeamAncestry(pad_to(self.visible, 2, positions * width), places)

    def mask(self) -> Tensor | None:
        """`[B, 1, W, N]` bool, True = a key of this beam's own history; None for one beam, whose are all keys."""
        if self.places is not None:
            return self.visible.unsqueeze(1)
        _, width, written = self.visible.shape
        shown = min_keys(written, self.visible.device)
        if width == 1 and shown == written:
            return None
        return pad_to(self.visible, 2, shown).unsqueeze(1)
