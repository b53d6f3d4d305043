"""Dilated convolutions over positions (Bai et al. 2018, section 3.2), as one product over shifted copies.

Shapes: B sentences, W beams, L positions, D inputs, K taps.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


def windows(x: Tensor, size: int, dilation: int, *, causal: bool) -> Tensor:
    """What each position of a convolution reads: `[B, L, D]` -> `[B, L, size · D]`, zeros beyond the ends.

    Causal: positions t, t - dilation, ...; else the same number of positions on both sides (`size` is odd).
    """
    reach = (size - 1) * dilation
    left = reach if causal else reach // 2
    padded = F.pad(x, (0, 0, left, reach - left))
    length = x.shape[1]
    return torch.cat([padded[:, i * dilation : i * dilation + length] for i in range(size)], dim=-1)


@dataclass(frozen=True)
class RingBuffer:
    """The last reach = (size - 1) · dilation inputs of a causal convolution, `[B, W, reach, D]`, in a circle.

    step: positions read so far, a number; or `[1]` int64, for a captured graph.
    """

    inputs: Tensor
    step: int | Tensor = 0

    @staticmethod
    def empty(sentences: int, reach: int, like: Tensor) -> RingBuffer:
        return RingBuffer(like.new_zeros(sentences, 1, reach, like.shape[-1]))

    def read(self, x: Tensor, size: int, dilation: int) -> tuple[Tensor, RingBuffer]:
        """The taps at this position, `[B, W, D]` -> `[B, W, size · D]`, and the ring with `x` in it."""
        reach = self.inputs.shape[2]
        if isinstance(self.step, Tensor):
            back = torch.arange(size - 1, 0, -1, device=x.device) * dilation
            read = self.inputs.index_select(2, (self.step - back) % reach).flatten(2)
            self.inputs.index_copy_(2, self.step % reach, x.unsqueeze(2))
            return torch.cat([read, x], dim=-1), RingBuffer(self.inputs, self.step + 1)
        slots = [(self.step - j * dilation) % reach for j in range(size - 1, 0, -1)]
        seen = torch.cat([*(self.inputs[:, :, slot] for slot in slots), x], dim=-1)
        self.inputs[:, :, self.step % reach] = x  # the oldest, which has just been read for the last time
        return seen, RingBuffer(self.inputs, self.step + 1)

    def reorder(self, parents: Tensor) -> RingBuffer:
        index = parents[:, :, None, None].expand(-1, -1, *self.inputs.shape[2:])
        return RingBuffer(self.inputs.gather(1, index), self.step)

    def select(self, sentences: Tensor) -> RingBuffer:
        return RingBuffer(self.inputs.index_select(0, sentences), self.step)

    def to_static(self, step: Tensor) -> RingBuffer:
        return RingBuffer(self.inputs, step)

    def cat(self, other: RingBuffer) -> RingBuffer:
        assert self.step == other.step
        return RingBuffer(torch.cat([self.inputs, other.inputs]), self.step)
