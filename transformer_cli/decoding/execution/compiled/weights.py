"""The weights of a Transformer in one array, in the layout that compiled products read.

Shapes: D `d_model`, H heads, K head size rounded up to whole vectors, A = H · K, F `d_ff`, V
vocabulary, O outputs and I inputs of a linear map, C `TILE_COLUMNS`. Matrices are stored in panels
of C outputs, `[O / C, I, C]`, padded with zeros.
"""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from transformer_cli.decoding.execution.compiled.emitter import LANES
from transformer_cli.decoding.execution.compiled.simd import TILE_COLUMNS
from transformer_cli.decoding.execution.compiled.simd_int8 import GROUP
from transformer_cli.models.layers import Embedding
from transformer_cli.models.positions import Positions
from transformer_cli.models.seq2seq import Seq2Seq
from transformer_cli.ops.positions import rotation
from transformer_cli.schema import ModelConfig

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

SELF_NORM, QUERY_KEY_VALUE, SELF_OUT, CROSS_NORM, CROSS_QUERY, CROSS_OUT, FEED_NORM, UP, DOWN = range(9)
"""Columns of the table of offsets of a layer's weights."""
RELU_ACTIVATION, GELU_ACTIVATION, SWIGLU_ACTIVATION = range(3)
ACTIVATIONS = {"relu": RELU_ACTIVATION, "gelu": GELU_ACTIVATION, "swiglu": SWIGLU_ACTIVATION}
TABLE_MULTIPLE = 256
"""The number of positions of a table is rounded up to a multiple of this."""


class Stack(NamedTuple):
    """The layers of an encoder or a decoder.

    Attributes:
        weights: all weights of the model that are not quantized.
        quantized: its quantized matrices; see `simd_int8`. Empty in fp32.
        layers: `[layers, 9]`, where the weights of each layer start.
        final_norm: where the gain of the norm after the last layer starts; -1 with post-norm.
        embedding: where the embedding `[V, D]` starts, which is scaled already.
        width, heads, head_size, attention_width, inner: D, H, K, A, F.
        inner_stride: F in whole panels. activation: one of `ACTIVATIONS`.
        pre_norm, centred, epsilon: where and how to normalise; 1 is true.
    """

    weights: Floats
    quantized: NDArray[np.int8]
    layers: Ints
    final_norm: int
    embedding: int
    width: int
    heads: int
    head_size: int
    attention_width: int
    inner: int
    inner_stride: int
    activation: int
    pre_norm: int
    centred: int
    epsilon: float


class Projections(NamedTuple):
    """What connects the decoder to the source and to the vocabulary.

    Attributes:
        key_value: where the matrix of the cross-attention keys and values of all layers starts,
            `[layers * 2A, D]`.
        output: where the output projection starts, `[V, D]`. vocab: V.
    """

    key_value: int
    output: int
    vocab: int


class PositionTables(NamedTuple):
    """Position encodings, flat.

    Attributes:
        added: `[T, D]`, added to the embedding; empty if there are none.
        cos, sin: `[T, K]`, see `simd.rotate`; empty without rotary positions.
    """

    added: Floats
    cos: Floats
    sin: Floats


class WeightBuffer:
    """Collects weights and remembers where each starts."""

    def __init__(self, int8: bool) -> None:
        """`int8`: quantize matrices."""
        self.int8 = int8
        self.parts: list[Floats] = []
        self.quantized: list[NDArray[np.int8]] = []
        self.size = self.quantized_size = 0

    def add(self, values: Floats) -> int:
        """Append values and return where they start, on a boundary of a cache line."""
        start, padding = self.size, -values.size % 16
        self.parts += [values.ravel().astype(np.float32, copy=False), np.zeros(padding, np.float32)]
        self.size += values.size + padding
        return start

    def add_matrix(self, *parts: Floats) -> int:
        """Append matrices `[O, I]` in panels, one after the other, and return where the first starts."""
        if not self.int8:
            return self.add(np.concatenate([to_panels(part) for part in parts]))
        start = self.quantized_size
        for part in parts:
            panels = to_int8_panels(part)
            self.quantized.append(panels)
            self.quantized_size += panels.size
        return start

    def arrays(self) -> tuple[Floats, NDArray[np.int8]]:
        """All weights, aligned to cache lines: those in float32 and those in int8."""
        none = np.empty(0, np.int8)
        return _aligned(np.concatenate(self.parts)), _aligned(np.concatenate([none, *self.quantized]))


def round_up(size: int, multiple: int) -> int:
    """The smallest multiple that is not below `size`."""
    return -(-size // multiple) * multiple


def to_panels(weight: Floats) -> Floats:
    """`[O, I]` -> `[O / C, I, C]`, with O rounded up."""
    outputs, inputs = weight.shape
    padded = np.zeros((round_up(outputs, TILE_COLUMNS), inputs), np.float32)
    padded[:outputs] = weight
    return np.ascontiguousarray(padded.reshape(-1, TILE_COLUMNS, inputs).transpose(0, 2, 1))


def to_int8_panels(weight: Floats) -> NDArray[np.int8]:
    """`[O, I]` -> panels as `simd_int8` describes them, flat, with O and I rounded up."""
    outputs, inputs = weight.shape
    scales = np.ones(round_up(outputs, TILE_COLUMNS), np.float32)
    scales[:outputs] = np.maximum(np.abs(weight).max(axis=1), 1e-12) / 127.0
    padded = np.zeros((len(scales), round_up(inputs, LANES)), np.int8)
    padded[:outputs, :inputs] = np.rint(weight / scales[:outputs, None])
    sums = padded.sum(axis=1, dtype=np.int32)
    panels = []
    for first in range(0, len(scales), TILE_COLUMNS):
        part = slice(first, first + TILE_COLUMNS)
        groups = padded[part].reshape(TILE_COLUMNS, -1, GROUP).transpose(1, 0, 2)
        panels += [groups.ravel(), scales[part].view(np.int8), sums[part].view(np.int8)]
    return np.concatenate(panels)


def _aligned(values: NDArray[Any]) -> NDArray[Any]:
    """A copy whose first element is at the start of a cache line."""
    buffer = np.empty(values.nbytes + 64, np.uint8)
    first = -buffer.ctypes.data % 64
    copy = buffer[first : first + values.nbytes].view(values.dtype)
    copy[:] = values
    return copy


def pad_heads(weight: Floats, heads: int) -> Floats:
    """`[maps * H * K', I]` -> `[maps * A, I]`, where the true head size K' is rounded up to K."""
    size = weight.shape[0] // heads
    padded = np.zeros((heads, round_up(size, LANES), weight.shape[1]), np.float32)
    padded[:, :size] = weight.reshape(heads, size, -1)
    return padded.reshape(-1, weight.shape[1])


def _array(weight: Tensor) -> Floats:
    return weight.detach().numpy()


class PackedTransformer:
    """A Transformer's weights, and tables of its positions that grow on demand.

    Attributes:
        encoder, decoder: the two stacks. projections: the rest.
    """

    def __init__(self, model: Seq2Seq, config: ModelConfig, *, int8: bool = False) -> None:
        """`int8`: quantize the matrices, except for the embeddings."""
        self.config = config
        self.positions: Positions = model.decoder.positions  # type: ignore[attr-defined]
        self.source_positions: Positions = model.encoder.positions  # type: ignore[attr-defined]
        buffer = WeightBuffer(int8)
        target = buffer.add(_scaled(model.tgt_embedding))
        shared = model.src_embedding is model.tgt_embedding
        source = target if shared else buffer.add(_scaled(model.src_embedding))
        encoder = _pack_stack(buffer, model.encoder, config, source)
        decoder = _pack_stack(buffer, model.decoder, config, target)
        key_values = [
            pad_heads(_array(layer.cross_attention.key_value.weight), 2 * config.num_heads)
            for layer in model.decoder.layers  # type: ignore[attr-defined]
        ]
        self.projections = Projections(
            key_value=buffer.add_matrix(np.concatenate(key_values)),
            output=buffer.add_matrix(_array(model.output_weight)),
            vocab=len(model.output_weight),
        )
        arrays = buffer.arrays()
        self.encoder, self.decoder = Stack(*arrays, **encoder), Stack(*arrays, **decoder)
        self._tables: dict[bool, tuple[int, PositionTables]] = {}

    def tables(self, count: int, *, source: bool) -> PositionTables:
        """The encodings of at least `count` positions of the encoder (`source`) or the decoder."""
        known = self._tables.get(source)
        if known is None or known[0] < count:
            limit = self.config.position_limit or sys.maxsize
            size = min(round_up(count, TABLE_MULTIPLE), limit)
            known = size, _position_tables(self.source_positions if source else self.positions, self.config, size)
            self._tables[source] = known
        return known[1]


def _scaled(embedding: Embedding) -> Floats:
    return _array(embedding.weight * embedding.scale)


def _pack_stack(buffer: WeightBuffer, stack: Any, config: ModelConfig, embedding: int) -> dict[str, Any]:
    """Add the weights of a stack to the buffer, and return the other fields of its `Stack`."""
    head_size = round_up(config.d_model // config.num_heads, LANES)
    return dict(
        layers=np.array([_pack_layer(buffer, layer, config) for layer in stack.layers], np.int64),
        final_norm=buffer.add(_array(stack.norm.weight)) if config.norm == "pre" else -1,
        embedding=embedding,
        width=config.d_model,
        heads=config.num_heads,
        head_size=head_size,
        attention_width=config.num_heads * head_size,
        inner=config.d_ff,
        inner_stride=round_up(config.d_ff, TILE_COLUMNS),
        activation=ACTIVATIONS[config.activation],
        pre_norm=int(config.norm == "pre"),
        centred=int(config.norm_type == "layer"),
        epsilon=float(stack.layers[0].self_residual.norm.eps),
    )


def _pack_layer(buffer: WeightBuffer, layer: Any, config: ModelConfig) -> list[int]:
    """Add the weights of a layer to the buffer; return where each starts, -1 for those that an encoder lacks."""
    heads, offsets = config.num_heads, [-1] * 9
    scale = (config.d_model // heads) ** -0.5
    query_key_value = _array(layer.self_attention.query_key_value.weight).copy()
    query_key_value[: config.d_model] *= scale
    offsets[SELF_NORM] = buffer.add(_array(layer.self_residual.norm.weight))
    offsets[QUERY_KEY_VALUE] = buffer.add_matrix(pad_heads(query_key_value, 3 * heads))
    offsets[SELF_OUT] = buffer.add_matrix(_pad_inputs(layer.self_attention.out, heads))
    offsets[FEED_NORM] = buffer.add(_array(layer.feed_residual.norm.weight))
    parts = 2 if config.activation == "swiglu" else 1
    up = _array(layer.feed_forward.up.weight).reshape(parts, config.d_ff, -1)
    offsets[UP] = buffer.add_matrix(*up)
    offsets[DOWN] = buffer.add_matrix(_array(layer.feed_forward.down.weight))
    if hasattr(layer, "cross_attention"):
        offsets[CROSS_NORM] = buffer.add(_array(layer.cross_residual.norm.weight))
        query = scale * _array(layer.cross_attention.query.weight)
        offsets[CROSS_QUERY] = buffer.add_matrix(pad_heads(query, heads))
        offsets[CROSS_OUT] = buffer.add_matrix(_pad_inputs(layer.cross_attention.out, heads))
    return offsets


def _pad_inputs(linear: nn.Linear, heads: int) -> Floats:
    """The weight `[O, H * K']` of a map of the heads' outputs -> `[O, A]`."""
    return pad_heads(np.ascontiguousarray(_array(linear.weight).T), heads).T


def _position_tables(positions: Positions, config: ModelConfig, count: int) -> PositionTables:
    none, numbers = np.empty(0, np.float32), torch.arange(count)
    if config.positions != "rotary":
        added = positions.add(torch.zeros(count, config.d_model), numbers)
        return PositionTables(_array(added).ravel(), none, none)
    size = config.d_model // config.num_heads
    angles = rotation(numbers, size, torch.float32).squeeze(1).numpy()
    cos, sin = np.zeros((2, count, round_up(size, LANES)), np.float32)
    cos[:, :size] = angles.real.repeat(2, axis=1)
    sin[:, :size] = angles.imag.repeat(2, axis=1)
    sin[:, 0::2] *= -1.0
    return PositionTables(none, cos.ravel(), sin.ravel())
