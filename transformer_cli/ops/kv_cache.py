"""Keys and values of the positions decoded so far, written in place.

Shapes: B sentences, W beams, H heads, K head size, t positions so far.

All beams of a sentence lie side by side in one row of keys: position p of slot w is key p · W + w. When
search reorders the beams nothing is copied; only `ancestors` changes, which says in which slot each
beam finds each of its earlier positions. So beams are query positions, and the mask does the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

GROWTH = 32
"""Positions that a cache grows by at a time."""


@dataclass
class KeyValueCache:
    """Keys and values of one layer: `[B, H, capacity · W, K]`, of which the first t · W are written."""

    keys: Tensor
    values: Tensor

    @staticmethod
    def empty(sentences: int, heads: int, size: int, like: Tensor) -> KeyValueCache:
        return KeyValueCache(*(like.new_empty(sentences, heads, 0, size) for _ in range(2)))

    def append(self, k: Tensor, v: Tensor, position: int) -> tuple[Tensor, Tensor]:
        """Write `[B, W, H, K]` at `position`; return all keys and values `[B, H, (position + 1) · W, K]`."""
        width = k.shape[1]
        start, end = position * width, (position + 1) * width
        if end > self.keys.shape[2]:
            room = (0, 0, 0, GROWTH * width)
            self.keys = torch.nn.functional.pad(self.keys, room)
            self.values = torch.nn.functional.pad(self.values, room)
        self.keys[:, :, start:end] = k.transpose(1, 2)
        self.values[:, :, start:end] = v.transpose(1, 2)
        return self.keys[:, :, :end], self.values[:, :, :end]

    def keep(self, sentences: Tensor) -> KeyValueCache:
        """The rows of the sentences `[B']`."""
        return KeyValueCache(self.keys[sentences], self.values[sentences])


@dataclass(frozen=True)
class Ancestry:
    """`slots[b, w, p]` is the slot in which beam w of sentence b finds its position p: `[B, W, t]`."""

    slots: Tensor

    @staticmethod
    def empty(sentences: int, width: int, device: torch.device) -> Ancestry:
        return Ancestry(torch.empty(sentences, width, 0, dtype=torch.int64, device=device))

    def advance(self) -> Ancestry:
        """Each beam writes the next position into its own slot."""
        sentences, width, _ = self.slots.shape
        own = torch.arange(width, device=self.slots.device).expand(sentences, width)
        return Ancestry(torch.cat([self.slots, own.unsqueeze(-1)], dim=-1))

    def reorder(self, parents: Tensor) -> Ancestry:
        """Beam w continues beam `parents[b, w]`: `[B, W]`."""
        return Ancestry(self.slots.gather(1, parents.unsqueeze(-1).expand_as(self.slots)))

    def keep(self, sentences: Tensor) -> Ancestry:
        return Ancestry(self.slots[sentences])

    def mask(self) -> Tensor | None:
        """`[B, 1, W, t · W]` bool, True = a key of this beam's own history; None for one beam."""
        width = self.slots.shape[1]
        if width == 1:
            return None
        columns = torch.arange(width, device=self.slots.device)
        return (self.slots.unsqueeze(-1) == columns).flatten(-2).unsqueeze(1)
