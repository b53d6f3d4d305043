"""Keys and values of the positions decoded so far, written in place.

Shapes: B sentences, W beams, H heads, K head size, N keys of a sentence so far: one for each beam and position.

All beams of a sentence lie side by side in one row of keys. When search reorders the beams nothing is copied; only
the `Ancestry` changes, which says which keys belong to the history of each beam. So beams are query positions, and
the mask does the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from transformer_cli.layout import fill, join_padded
from transformer_cli.ops.attention import least_keys

GROWTH = 32
"""Positions that a cache grows by at a time."""


@dataclass
class KeyValueCache:
    """Keys and values of one layer: `[B, H, capacity, K]`, of which the first `written` hold something."""

    keys: Tensor
    values: Tensor
    written: int

    @property
    def places(self) -> Tensor:
        """`[B, N]`: something for each key that is written."""
        return self.keys[:, 0, : self.written, 0]

    @staticmethod
    def empty(sentences: int, heads: int, size: int, like: Tensor) -> KeyValueCache:
        nothing = like.new_empty(sentences, heads, 0, size)
        return KeyValueCache(nothing, nothing, written=0)

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Write one position of W beams, `[B, W, H, K]`; return all keys and values so far, `[B, H, N, K]`.

        Of few keys more are returned, zeros: `least_keys` says how many.
        """
        width = k.shape[1]
        start, end = self.written, self.written + width
        if end > self.keys.shape[2]:
            room = (0, 0, 0, GROWTH * width)
            self.keys = torch.nn.functional.pad(self.keys, room)
            self.values = torch.nn.functional.pad(self.values, room)
        self.keys[:, :, start:end] = k.transpose(1, 2)
        self.values[:, :, start:end] = v.transpose(1, 2)
        self.written = end
        shown = least_keys(end, k.device)
        return self.keys[:, :, :shown], self.values[:, :, :shown]

    def keep(self, sentences: Tensor) -> KeyValueCache:
        """The rows of the sentences `[B']`."""
        return KeyValueCache(
            self.keys.index_select(0, sentences), self.values.index_select(0, sentences), self.written
        )

    def join(self, other: KeyValueCache) -> KeyValueCache:
        """And after them the sentences of another cache."""
        keys, values = join_padded(self.keys, other.keys, 2), join_padded(self.values, other.values, 2)
        return KeyValueCache(keys, values, max(self.written, other.written))


@dataclass(frozen=True)
class Ancestry:
    """Which keys each beam has in its history: `[B, W, N]` bool."""

    visible: Tensor

    @staticmethod
    def empty(sentences: int, device: torch.device) -> Ancestry:
        return Ancestry(torch.empty(sentences, 1, 0, dtype=torch.bool, device=device))

    def advance(self) -> Ancestry:
        """Each beam writes one more key, its own."""
        sentences, width, _ = self.visible.shape
        own = torch.eye(width, dtype=torch.bool, device=self.visible.device).expand(sentences, -1, -1)
        return Ancestry(torch.cat([self.visible, own], dim=-1))

    def reorder(self, parents: Tensor) -> Ancestry:
        """Beam w continues beam `parents[b, w]`: `[B, W']`, W' at least W."""
        assert parents.shape[1] >= self.visible.shape[1], "one beam would not be alone with its keys"
        return Ancestry(self.visible.gather(1, parents.unsqueeze(-1).expand(-1, -1, self.visible.shape[-1])))

    def keep(self, sentences: Tensor) -> Ancestry:
        return Ancestry(self.visible.index_select(0, sentences))

    def join(self, other: Ancestry) -> Ancestry:
        return Ancestry(torch.cat([self.visible, other.visible]))

    def mask(self) -> Tensor | None:
        """`[B, 1, W, N]` bool, True = a key of this beam's own history; None for one beam, whose are all keys."""
        _, width, written = self.visible.shape
        shown = least_keys(written, self.visible.device)
        if width == 1 and shown == written:
            return None
        return fill(self.visible, 2, shown).unsqueeze(1)
