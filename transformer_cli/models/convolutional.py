"""Temporal convolutional networks as encoder and decoder (Bai et al. 2018), with attention to the
source (Gehring et al. 2017).

The dilation doubles with each layer: n layers of kernel size k read (k - 1)(2ⁿ - 1) previous
positions.

Shapes: B sentences, L positions, W beams, D `d_model`; `[..., D]` is `[B, L, D]` or `[N, D]`,
depending on the layout.
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
    """W2 relu(W1 · window): a dilated convolution to `d_ff` channels, then one of width 1 to `d_model`."""

    def __init__(self, config: ModelConfig, layer: int, gain: float) -> None:
        super().__init__()
        self.kernel_size, self.dilation = config.kernel_size, 2**layer
        self.up = Linear(config.kernel_size * config.d_model, config.d_ff)
        self.down = Linear(config.d_ff, config.d_model, gain=gain)

    @property
    def context(self) -> int:
        """Number of previous positions that the causal convolution reads."""
        return (self.kernel_size - 1) * self.dilation

    def forward(self, x: Tensor, layout: Layout, causal: bool) -> Tensor:
        """`[..., D]` -> `[..., D]`."""
        padded = layout.pad(x)
        if layout.mask is not None and not causal:
            padded = padded * layout.mask.unsqueeze(-1)  # the last tokens of a sentence must not read padding
        return layout.unpad(self._project(windows(padded, self.kernel_size, self.dilation, causal=causal)))

    def step(self, x: Tensor, ring: RingBuffer) -> tuple[Tensor, RingBuffer]:
        """Compute one position: `[B, W, D]` -> `[B, W, D]`."""
        window, ring = ring.push(x, self.kernel_size, self.dilation)
        return self._project(window), ring

    def _project(self, window: Tensor) -> Tensor:
        out: Tensor = self.down(F.relu(self.up(window)))
        return out


class ConvolutionalEncoderLayer(nn.Module):
    """A bidirectional convolution in a residual branch."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        c, gain = config, residual_gain(config.norm, config.encoder_layers)
        self.convolution = Convolution(c, layer, gain)
        self.residual = build_residual(c.norm, c.norm_type, c.d_model, c.dropout)

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        out: Tensor = self.residual(x, lambda h: self.convolution(h, layout, causal=False))
        return out


class ConvolutionalEncoder(LayerStack):
    """A stack of convolutional encoder layers; see `protocol.Encoder`."""

    def __init__(self, config: ModelConfig) -> None:
        layers = (ConvolutionalEncoderLayer(config, i) for i in range(config.encoder_layers))
        super().__init__(config, build_positions(config, added=True), layers)


class ConvolutionalDecoderLayer(nn.Module):
    """Causal convolution and cross-attention, each in a residual branch."""

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
        """Compute one position of W beams: `[B, W, D]` -> `[B, W, D]`."""
        next_ring = ring

        def convolve(h: Tensor) -> Tensor:
            nonlocal next_ring
            out, next_ring = self.convolution.step(h, ring)
            return out

        y = self.convolution_residual(y, convolve)
        y = self.cross_residual(y, lambda h: self.cross_attention.step(h, mask, source))
        return y, next_ring


@dataclass(frozen=True)
class ConvolutionalState:
    """See `protocol.DecoderState`.

    Attributes:
        step: number of positions decoded; `[1]` int64 in a static state.
        rings: past inputs of each layer.
        sources: source keys and values of each layer.
        source_mask: `key_mask` of the source.
    """

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
        masks = (self.source_mask, self.sources[0].mask_like), (other.source_mask, other.sources[0].mask_like)
        return ConvolutionalState(
            self.step,
            [a.cat(b) for a, b in zip(self.rings, other.rings, strict=True)],
            [a.cat(b) for a, b in zip(self.sources, other.sources, strict=True)],
            cat_key_masks(*masks),
        )

    def to_static(self, positions: int, source: int) -> ConvolutionalState:
        mask_like = self.sources[0].mask_like
        step = step_position(self.step, mask_like.device)
        return ConvolutionalState(
            step,
            [ring.to_static(step) for ring in self.rings],
            [cache.to_static(source) for cache in self.sources],
            static_key_mask(self.source_mask, mask_like, source),
        )


class ConvolutionalDecoder(LayerStack):
    """A stack of convolutional decoder layers; see `protocol.Decoder`."""

    def __init__(self, config: ModelConfig) -> None:
        layers = (ConvolutionalDecoderLayer(config, i) for i in range(config.decoder_layers))
        super().__init__(config, build_positions(config, added=True), layers)

    def init_state(self, memory: Memory) -> ConvolutionalState:
        rings, sources = [], []
        for layer in self.layers:
            assert isinstance(layer, ConvolutionalDecoderLayer)
            context = layer.convolution.context
            rings.append(RingBuffer.empty(memory.layout.sentences, context, memory.states))
            sources.append(layer.cross_attention.project_memory(memory))
        return ConvolutionalState(0, rings, sources, source_mask(memory))

    def decode_step(self, y: Tensor, state: ConvolutionalState) -> tuple[Tensor, ConvolutionalState]:
        y = self.positions.add(y, step_position(state.step, y.device))
        rings = []
        for layer, ring, source in zip(self.layers, state.rings, state.sources, strict=True):
            assert isinstance(layer, ConvolutionalDecoderLayer)
            y, next_ring = layer.step(y, ring, source, state.source_mask)
            rings.append(next_ring)
        return self.norm(y), replace(state, step=state.step + 1, rings=rings)
