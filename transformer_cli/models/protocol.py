"""What every architecture promises. Search and the training loop know nothing else.

Shapes: B sentences, W beams, N tokens, D `d_model`; `[..., D]` is `[B, L, D]` or `[N, D]` as the layout says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, Self

from torch import Tensor

from transformer_cli.layout import Layout


@dataclass(frozen=True)
class Memory:
    """All that crosses from encoder to decoder: states `[..., D]` of the source and how they lie."""

    states: Tensor
    layout: Layout


class DecoderState(Protocol):
    """What a decoder remembers between two positions. Using it up makes the old value dead."""

    def reorder(self, parents: Tensor) -> Self:
        """Beam w of sentence b continues beam `parents[b, w]`; `[B, W']` int64, W' at least W."""
        ...

    def select(self, sentences: Tensor) -> Self:
        """Only these sentences go on; `[B']` int64, increasing."""
        ...

    def cat(self, other: Self) -> Self:
        """The sentences of another state go on with these and stand after them; as many beams and steps."""
        ...

    def to_static(self, positions: int, source: int) -> Self:
        """The same with room for so many positions in all, and for so many source tokens, at least those it has.

        From here on shapes stay as they are, and no step asks the device for a number: a graph may be captured. A
        fixed state may be fixed again, with more room; it joins no other.
        """
        ...


class Encoder(Protocol):
    """Embedded source -> states of the same layout."""

    supports_packed: bool
    """Whether packed tokens are computed as they lie; where not, they are padded on the way."""

    def __call__(self, x: Tensor, layout: Layout) -> Tensor:
        """`[..., D]` -> `[..., D]`."""
        ...


class Decoder(Protocol):
    """Embedded target so far, and the memory -> states that predict the next token."""

    supports_packed: bool
    """As of the encoder."""

    def __call__(self, y: Tensor, layout: Layout, memory: Memory) -> Tensor:
        """Teacher forcing, all positions at once: `[..., D]` -> `[..., D]`."""
        ...

    def init_state(self, memory: Memory) -> Any:
        """The state before the first position, for B sentences of one hypothesis each."""
        ...

    def decode_step(self, y: Tensor, state: Any) -> tuple[Tensor, Any]:
        """One position: `[B, W, D]` -> (`[B, W, D]`, the next state)."""
        ...
