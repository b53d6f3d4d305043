"""The temporal convolutional network as encoder and decoder (Bai et al. 2018), with attention to the source
(Gehring et al. 2017).

Each layer sees twice as far as the one before; n layers of kernel k see (k - 1)(2ⁿ - 1) positions back.
Shapes: B sentences, L positions, W beams, D `d_model`; `[..., D]` is `[B, L, D]` or `[N, D]` as the layout says.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch.nn.functional as F
from torch import Tensor, nn

from transformer_cli.layout import Layout
from transformer_cli.models.layers import (
    CrossAttention,
    LayerStack,
    Linear,
    build_residual,
    residual_gain,
    source_mask,
    step_position,
)
from transformer_cli.models.positions import build_positions
from transformer_cli.models.protocol import Memory
from transformer_cli.ops.attention import KERNELS, cat_key_masks, select_key_mask, static_key_mask
from transformer_cli.ops.convolution import RingBuffer, windows
from transformer_cli.ops.kv_cache import KeyValueCache
from transformer_cli.schema import ModelConfig


class Convolution(nn.Module):
    """W2 relu(W1 · what stands around): a dilated convolution to `d_ff` channels, and back by one of width 1."""

    def __init__(self, config: ModelConfig, layer: int, gain: float) -> None:
        super().__init__()
        self.size, self.dilation = config.kernel_size, 2**layer
        self.up = Linear(config.kernel_size * config.d_model, config.d_ff)
        self.down = Linear(config.d_ff, config.d_model, gain=gain)

    @property
    def reach(self) -> int:
        """Positions before its own that a causal convolution reads."""
        return (self.size - 1) * self.dilation

    def forward(self, x: Tensor, layout: Layout, causal: bool) -> Tensor:
        """`[..., D]` -> `[..., D]`."""
        padded = layout.pad(x)
        if layout.mask is not None and not causal:
            padded = padded * layout.mask.unsqueeze(-1)  # what stands behind the end is nothing
        return layout.unpad(self._map(windows(padded, self.size, self.dilation, causal=causal)))

    def step(self, x: Tensor, ring: RingBuffer) -> tuple[Tensor, RingBuffer]:
        """One position: `[B, W, D]` -> `[B, W, D]`."""
        seen, ring = ring.read(x, self.size, self.dilation)
        return self._map(seen), ring

    def _map(self, seen: Tensor) -> Tensor:
        out: Tensor = self.down(F.relu(self.up(seen)))
        return out


class ConvolutionalEncoderLayer(nn.Module):
    """A convolution that looks both ways, in a residual branch."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        c, gain = config, residual_gain(config.norm, config.encoder_layers)
        self.convolution = Convolution(c, layer, gain)
        self.residual = build_residual(c.norm, c.norm_type, c.d_model, c.dropout)

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        out: Tensor = self.residual(x, lambda h: self.convolution(h, layout, causal=False))
        return out


class ConvolutionalEncoder(LayerStack):
    """A stack of convolutions."""

    def __init__(self, config: ModelConfig) -> None:
        layers = (ConvolutionalEncoderLayer(config, i) for i in range(config.encoder_layers))
        super().__init__(config, build_positions(config, added=True), layers)


class ConvolutionalDecoderLayer(nn.Module):
    """A causal convolution, then cross-attention, each in a residual branch."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        c, gain = config, residual_gain(config.norm, config.decoder_layers)
        self.convolution = Convolution(c, layer, gain)
        self.cross_attention = CrossAttention(c.d_model, c.num_heads, KERNELS[c.attention], gain)
        self.convolution_residual = build_residual(c.norm, c.norm_type, c.d_model, c.dropout)
        self.cross_residual = build_residual(c.norm, c.norm_type, c.d_model, c.dropout)

    def forward(self, y: Tensor, layout: Layout, memory: Memory) -> Tensor:
        y = self.convolution_residual(y, lambda h: self.convolution(h, layout, causal=True))
        y = self.cross_residual(y, lambda h: self.cross_attention(h, layout, memory))
        return y

    def step(
        self, y: Tensor, ring: RingBuffer, source: KeyValueCache, mask: Tensor | None
    ) -> tuple[Tensor, RingBuffer]:
        """One position of W beams: `[B, W, D]` -> `[B, W, D]`."""
        after: list[RingBuffer] = []

        def convolve(h: Tensor) -> Tensor:
            out, ring_after = self.convolution.step(h, ring)
            after.append(ring_after)
            return out

        y = self.convolution_residual(y, convolve)
        y = self.cross_residual(y, lambda h: self.cross_attention.step(h, mask, source))
        return y, after[0]


@dataclass(frozen=True)
class ConvolutionalState:
    """See `protocol.DecoderState`. `step` counts the positions read; `[1]` int64 if fixed."""

    step: int | Tensor
    rings: list[RingBuffer]
    sources: list[KeyValueCache]
    source_mask: Tensor | None

    def reorder(self, parents: Tensor) -> ConvolutionalState:
        return replace(self, rings=[ring.reorder(parents) for ring in self.rings])

    def select(self, sentences: Tensor) -> ConvolutionalState:
        return ConvolutionalState(
            self.step,
            [ring.select(sentences) for ring in self.rings],
            [source.select(sentences) for source in self.sources],
            select_key_mask(self.source_mask, sentences),
        )

    def cat(self, other: ConvolutionalState) -> ConvolutionalState:
        masks = (self.source_mask, self.sources[0].places), (other.source_mask, other.sources[0].places)
        return ConvolutionalState(
            self.step,
            [mine.cat(theirs) for mine, theirs in zip(self.rings, other.rings, strict=True)],
            [mine.cat(theirs) for mine, theirs in zip(self.sources, other.sources, strict=True)],
            cat_key_masks(*masks),
        )

    def to_static(self, positions: int, source: int) -> ConvolutionalState:
        places = self.sources[0].places
        step = step_position(self.step, places.device)
        return ConvolutionalState(
            step,
            [ring.to_static(step) for ring in self.rings],
            [cache.to_static(source) for cache in self.sources],
            static_key_mask(self.source_mask, places, source),
        )


class ConvolutionalDecoder(LayerStack):
    """Causal convolutions with attention to the source in each layer."""

    def __init__(self, config: ModelConfig) -> None:
        layers = (ConvolutionalDecoderLayer(config, i) for i in range(config.decoder_layers))
        super().__init__(config, build_positions(config, added=True), layers)

    def init_state(self, memory: Memory) -> ConvolutionalState:
        rings, sources = [], []
        for layer in self.layers:
            assert isinstance(layer, ConvolutionalDecoderLayer)
            reach = layer.convolution.reach
            rings.append(RingBuffer.empty(memory.layout.sentences, reach, memory.states))
            sources.append(layer.cross_attention.project_memory(memory))
        return ConvolutionalState(0, rings, sources, source_mask(memory))

    def decode_step(self, y: Tensor, state: ConvolutionalState) -> tuple[Tensor, ConvolutionalState]:
        y = self.positions.add(y, step_position(state.step, y.device))
        rings = []
        for layer, ring, source in zip(self.layers, state.rings, state.sources, strict=True):
            assert isinstance(layer, ConvolutionalDecoderLayer)
            y, after = layer.step(y, ring, source, state.source_mask)
            rings.append(after)
        return self.norm(y), replace(state, step=state.step + 1, rings=rings)
