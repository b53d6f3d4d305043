"""The interfaces that every architecture implements; search and training depend on nothing else.

Shapes: B sentences, W beams, N tokens, D `d_model`; `[..., D]` is `[B, L, D]` or `[N, D]`,
depending on the layout.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, Self

from torch import Tensor

from transformer_cli.layout import Layout


@dataclass(frozen=True)
class Memory:
    """The output of the encoder: states `[..., D]` of the source and their layout."""

    states: Tensor
    layout: Layout


class DecoderState(Protocol):
    """The state of a decoder between two positions. `decode_step` invalidates the state that it receives."""

    def reorder(self, parents: Tensor) -> Self:
        """Beam w of sentence b continues beam `parents[b, w]`; `[B, W']` int64, W' >= W."""
        ...

    def select(self, sentences: Tensor) -> Self:
        """Keep only these sentences; `[B']` int64, increasing."""
        ...

    def cat(self, other: Self) -> Self:
        """Append the sentences of another state, which must have the same numbers of beams and steps."""
        ...

    def to_static(self, positions: int, source: int) -> Self:
        """Convert to a state of fixed capacity, for a captured CUDA graph.

        Steps on a static state change no shape and do not synchronize with the device. A static
        state can be converted again to a larger capacity; it does not support `cat`.

        Args:
            positions: capacity in target positions, at least those decoded so far.
            source: capacity in source tokens, at least those of the longest sentence.
        """
        ...


class Encoder(Protocol):
    """Map the embedded source to states of the same layout."""

    supports_packed: bool
    """Whether packed tensors stay packed throughout; otherwise the encoder pads them internally."""

    def __call__(self, x: Tensor, layout: Layout) -> Tensor:
        """`[..., D]` -> `[..., D]`."""
        ...


class Decoder(Protocol):
    """Map the embedded target prefix and the memory to states that predict the next token."""

    supports_packed: bool
    """See `Encoder.supports_packed`."""

    def __call__(self, y: Tensor, layout: Layout, memory: Memory) -> Tensor:
        """Compute all positions at once (teacher forcing): `[..., D]` -> `[..., D]`."""
        ...

    def init_state(self, memory: Memory) -> Any:
        """Create the state before the first position: B sentences with one hypothesis each."""
        ...

    def decode_step(self, y: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Compute one position: `[B, W, D]` -> (`[B, W, D]`, the next state)."""
        ...
