"""Dilated convolutions over positions (Bai et al. 2018, section 3.2) as one matrix product over shifted copies.

Shapes: B sentences, W beams, L positions, D channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


def windows(x: Tensor, kernel_size: int, dilation: int, *, causal: bool) -> Tensor:
    """Gather the inputs of a convolution at each position, oldest first; zeros beyond the ends.

    `[B, L, D]` -> `[B, L, kernel_size · D]`. Causal: positions t, t - dilation, ...; otherwise the
    same number of positions on both sides of t (`kernel_size` must be odd).
    """
    context = (kernel_size - 1) * dilation
    left = context if causal else context // 2
    padded = F.pad(x, (0, 0, left, context - left))
    length = x.shape[1]
    return torch.cat([padded[:, i * dilation : i * dilation + length] for i in range(kernel_size)], dim=-1)


@dataclass(frozen=True)
class RingBuffer:
    """Ring buffer of the last inputs of a causal convolution.

    Attributes:
        inputs: `[B, W, context, D]`, where context = (kernel_size - 1) · dilation.
        step: number of positions pushed so far; in a static buffer (for CUDA graphs) `[1]` int64.
    """

    inputs: Tensor
    step: int | Tensor = 0

    @staticmethod
    def empty(sentences: int, context: int, like: Tensor) -> RingBuffer:
        return RingBuffer(like.new_zeros(sentences, 1, context, like.shape[-1]))

    def push(self, x: Tensor, kernel_size: int, dilation: int) -> tuple[Tensor, RingBuffer]:
        """Add the input at one position in place and return the window that ends with it.

        Args:
            x: `[B, W, D]`.

        Returns:
            The window `[B, W, kernel_size · D]`, as in `windows`, and the buffer that includes `x`.
        """
        context = self.inputs.shape[2]
        if isinstance(self.step, Tensor):
            offsets = torch.arange(kernel_size - 1, 0, -1, device=x.device) * dilation
            previous = self.inputs.index_select(2, (self.step - offsets) % context).flatten(2)
            self.inputs.index_copy_(2, self.step % context, x.unsqueeze(2))
            return torch.cat([previous, x], dim=-1), RingBuffer(self.inputs, self.step + 1)
        slots = [(self.step - j * dilation) % context for j in range(kernel_size - 1, 0, -1)]
        window = torch.cat([*(self.inputs[:, :, slot] for slot in slots), x], dim=-1)
        self.inputs[:, :, self.step % context] = x  # overwrites the oldest input, which no later window contains
        return window, RingBuffer(self.inputs, self.step + 1)

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
