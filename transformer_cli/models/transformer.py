"""The Transformer (Vaswani et al. 2017, figure 1), pre-norm or post-norm.

Shapes: B sentences, W beams, L positions, D `d_model`, H heads, K head size; `[..., D]` is
`[B, L, D]` or `[N, D]`, depending on the layout.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor, nn

from transformer_cli.layout import Layout
from transformer_cli.models.layers import (
    CrossAttention,
    LayerStack,
    SelfAttention,
    build_feed_forward,
    build_residual,
    residual_gain,
    source_mask,
    step_position,
)
from transformer_cli.models.positions import Positions, build_positions
from transformer_cli.models.protocol import Memory
from transformer_cli.ops.attention import KERNELS, cat_key_masks, select_key_mask, static_key_mask
from transformer_cli.ops.kv_cache import BeamAncestry, KeyValueCache
from transformer_cli.schema import ModelConfig


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward network, each in a residual branch."""

    def __init__(self, config: ModelConfig, positions: Positions) -> None:
        super().__init__()
        c, gain = config, residual_gain(config.norm, config.encoder_layers)
        kernel = KERNELS[c.attention]
        self.self_attention = SelfAttention(c.d_model, c.num_heads, positions, kernel, gain)
        self.feed_forward = build_feed_forward(c.activation, c.d_model, c.d_ff, gain)
        self.self_residual = build_residual(c.norm, c.norm_type, c.d_model, c.dropout)
        self.feed_residual = build_residual(c.norm, c.norm_type, c.d_model, c.dropout)

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        x = self.self_residual(x, lambda h: self.self_attention(h, layout, causal=False))
        x = self.feed_residual(x, self.feed_forward)
        return x


class TransformerEncoder(LayerStack):
    """A stack of encoder layers; see `protocol.Encoder`."""

    supports_packed = True

    def __init__(self, config: ModelConfig) -> None:
        positions = build_positions(config)
        super().__init__(
            config, positions, (EncoderLayer(config, positions) for _ in range(config.encoder_layers))
        )


class DecoderLayer(nn.Module):
    """Causal self-attention, cross-attention and feed-forward network, each in a residual branch."""

    def __init__(self, config: ModelConfig, positions: Positions) -> None:
        super().__init__()
        c, gain = config, residual_gain(config.norm, config.decoder_layers)
        kernel = KERNELS[c.attention]
        self.self_attention = SelfAttention(c.d_model, c.num_heads, positions, kernel, gain)
        self.cross_attention = CrossAttention(c.d_model, c.num_heads, kernel, gain)
        self.feed_forward = build_feed_forward(c.activation, c.d_model, c.d_ff, gain)
        self.self_residual = build_residual(c.norm, c.norm_type, c.d_model, c.dropout)
        self.cross_residual = build_residual(c.norm, c.norm_type, c.d_model, c.dropout)
        self.feed_residual = build_residual(c.norm, c.norm_type, c.d_model, c.dropout)

    def forward(self, y: Tensor, layout: Layout, memory: Memory) -> Tensor:
        y = self.self_residual(y, lambda h: self.self_attention(h, layout, causal=True))
        y = self.cross_residual(y, lambda h: self.cross_attention(h, layout, memory))
        y = self.feed_residual(y, self.feed_forward)
        return y

    def step(self, y: Tensor, cache: LayerCache, context: StepContext) -> Tensor:
        """Compute one position of W beams: `[B, W, D]` -> `[B, W, D]`."""
        c = context
        y = self.self_residual(
            y, lambda h: self.self_attention.step(h, c.rotation, c.self_mask, cache.target, c.cache_position)
        )
        y = self.cross_residual(y, lambda h: self.cross_attention.step(h, c.source_mask, cache.source))
        y = self.feed_residual(y, self.feed_forward)
        return y


@dataclass(frozen=True)
class LayerCache:
    """Keys and values of one layer: those of the target prefix and those of the source."""

    target: KeyValueCache
    source: KeyValueCache

    def select(self, sentences: Tensor) -> LayerCache:
        return LayerCache(self.target.select(sentences), self.source.select(sentences))

    def cat(self, other: LayerCache) -> LayerCache:
        return LayerCache(self.target.cat(other.target), self.source.cat(other.source))

    def to_static(self, target: int, source: int) -> LayerCache:
        return LayerCache(self.target.to_static(target), self.source.to_static(source))


@dataclass(frozen=True)
class StepContext:
    """Inputs of one decoding step that all layers share.

    Attributes:
        rotation: `Positions.rotation` of the position.
        cache_position: where the new keys are written; see `KeyValueCache.append`.
        self_mask: mask of self-attention, `[B, 1, W, N]`; see `BeamAncestry.mask`.
        source_mask: mask of cross-attention, `[B, 1, 1, S]`.
    """

    rotation: Tensor | None
    cache_position: int | Tensor
    self_mask: Tensor | None
    source_mask: Tensor | None


@dataclass(frozen=True)
class TransformerState:
    """See `protocol.DecoderState`.

    Attributes:
        step: number of positions written to the caches; `[1]` int64 in a static state.
        ancestry: which target keys belong to which beam, the same in all layers.
        caches: keys and values of each layer.
        source_mask: `key_mask` of the source.
    """

    step: int | Tensor
    ancestry: BeamAncestry
    caches: list[LayerCache]
    source_mask: Tensor | None

    def reorder(self, parents: Tensor) -> TransformerState:
        return replace(self, ancestry=self.ancestry.reorder(parents))

    def select(self, sentences: Tensor) -> TransformerState:
        return TransformerState(
            self.step,
            self.ancestry.select(sentences),
            [cache.select(sentences) for cache in self.caches],
            select_key_mask(self.source_mask, sentences),
        )

    def cat(self, other: TransformerState) -> TransformerState:
        first, second = ((state.source_mask, state.caches[0].source.mask_like) for state in (self, other))
        return TransformerState(
            self.step,
            self.ancestry.cat(other.ancestry),
            [a.cat(b) for a, b in zip(self.caches, other.caches, strict=True)],
            cat_key_masks(first, second),
        )

    def to_static(self, positions: int, source: int) -> TransformerState:
        mask_like, ancestry = self.caches[0].source.mask_like, self.ancestry.to_static(positions)
        return TransformerState(
            step_position(self.step, mask_like.device),
            ancestry,
            [cache.to_static(ancestry.visible.shape[2], source) for cache in self.caches],
            static_key_mask(self.source_mask, mask_like, source),
        )


class TransformerDecoder(LayerStack):
    """A stack of decoder layers; see `protocol.Decoder`."""

    supports_packed = True

    def __init__(self, config: ModelConfig) -> None:
        positions = build_positions(config)
        super().__init__(
            config, positions, (DecoderLayer(config, positions) for _ in range(config.decoder_layers))
        )

    def init_state(self, memory: Memory) -> TransformerState:
        sentences = memory.layout.sentences
        caches = []
        for layer in self.layers:
            assert isinstance(layer, DecoderLayer)
            source = layer.cross_attention.project_memory(memory)
            heads, size = source.keys.shape[1], source.keys.shape[3]
            target = KeyValueCache.empty(sentences, heads, size, like=source.keys)
            caches.append(LayerCache(target, source))
        ancestry = BeamAncestry.empty(sentences, memory.states.device)
        return TransformerState(0, ancestry, caches, source_mask(memory))

    def decode_step(self, y: Tensor, state: TransformerState) -> tuple[Tensor, TransformerState]:
        ancestry = state.ancestry.advance()
        position = step_position(state.step, y.device)
        y = self.positions.add(y, position)
        context = StepContext(
            self.positions.rotation(position, y.dtype),
            state.ancestry.cache_position,
            ancestry.mask(),
            state.source_mask,
        )
        for layer, cache in zip(self.layers, state.caches, strict=True):
            assert isinstance(layer, DecoderLayer)
            y = layer.step(y, cache, context)
        return self.norm(y), replace(state, step=state.step + 1, ancestry=ancestry)
