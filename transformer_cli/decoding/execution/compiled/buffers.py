"""The memory of compiled functions, allocated once per batch.

Shapes: N rows (tokens of sentences, or hypotheses), B sentences, R slots for sentences, W beams, T
target positions; D, A, F, V as in `weights`. All arrays are flat; the rows of activations start at
multiples of a stride, which is a number of whole panels.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from transformer_cli.decoding.execution.compiled.emitter import LANES
from transformer_cli.decoding.execution.compiled.simd import TILE_COLUMNS, TILE_ROWS
from transformer_cli.decoding.execution.compiled.weights import (
    SWIGLU_ACTIVATION,
    Floats,
    Ints,
    Stack,
    round_up,
)


class Activations(NamedTuple):
    """The activations of N rows.

    Attributes:
        x: `[N, D]`, the residual path. normed: `[N, D]`, the input of a branch.
        projected: `[N, 3A]`, queries, keys and values. heads: `[N, A]`, the output of attention.
        inner: `[N, F]`, twice as wide for SwiGLU. scores: `[H, T + 2]`, attention scores of one query.
        quantized, row_scales, row_zeros: the quantized input of a product; see `simd_int8`.
        stride, projected_stride, inner_stride: distances between two rows of `x` and `normed`, of `projected`, and
            of `inner`.
    """

    x: Floats
    normed: Floats
    projected: Floats
    heads: Floats
    inner: Floats
    scores: Floats
    quantized: NDArray[np.uint8]
    row_scales: Floats
    row_zeros: NDArray[np.int32]
    stride: int
    projected_stride: int
    inner_stride: int


class Source(NamedTuple):
    """Keys and values of B source sentences for all decoder layers.

    Attributes:
        keys_values: `[tokens, layers * 2A]`. stride: the distance between two tokens.
        places: `[tokens]`, where those of each token start.
        starts: `[B + 1]`, the first token of each sentence, and their number.
    """

    keys_values: Floats
    stride: int
    places: Ints
    starts: Ints


class Cache(NamedTuple):
    """Keys and values of the target, `[layers, R, T, W, 2A]`.

    Attributes:
        layer_size: number of elements of a layer.
        places: `[R, W, T]`, where the keys and values of each position of a hypothesis start in a layer.
        width, positions: W, T.
    """

    keys_values: Floats
    layer_size: int
    places: Ints
    width: int
    positions: int


class Rows(NamedTuple):
    """The hypotheses of a step, `[N]` each: their sentence, its slot, the beam, the position, the last token."""

    sentences: Ints
    slots: Ints
    beams: Ints
    positions: Ints
    tokens: Ints


class Candidates(NamedTuple):
    """The likeliest next tokens of N rows.

    Attributes:
        logits, tokens: `[N, k]`, the k largest logits of each row in descending order. PAD, UNK and BOS are left
            out. Without k finite logits the rest is -inf, of EOS.
        eos: `[N]`, the logit of EOS.
        maxima, sums: `[N]`, the largest logit, and the sum of exp(logit - maximum) over the vocabulary.
        tile: the logits of a tile.
    """

    logits: Floats
    tokens: Ints
    eos: Floats
    maxima: Floats
    sums: Floats
    tile: Floats


def allocate_activations(stack: Stack, rows: int, positions: int) -> Activations:
    """Buffers for up to `rows` rows that attend to up to `positions` positions."""
    stride, projected = round_up(stack.width, TILE_COLUMNS), round_up(3 * stack.attention_width, TILE_COLUMNS)
    inner = stack.inner_stride * (2 if stack.activation == SWIGLU_ACTIVATION else 1)
    widest = max(stride, stack.attention_width, inner)
    return Activations(
        x=np.zeros(rows * stride, np.float32),
        normed=np.zeros(rows * stride, np.float32),
        projected=np.zeros(rows * projected, np.float32),
        heads=np.zeros(rows * stack.attention_width, np.float32),
        inner=np.zeros(rows * inner, np.float32),
        scores=np.zeros(stack.heads * (round_up(positions, LANES) + 2), np.float32),
        quantized=np.zeros(rows * widest if stack.quantized.size else 0, np.uint8),
        row_scales=np.zeros(rows, np.float32),
        row_zeros=np.zeros(rows, np.int32),
        stride=stride,
        projected_stride=projected,
        inner_stride=inner,
    )


def allocate_source(stack: Stack, starts: Ints) -> Source:
    """`stack`: the decoder."""
    stride = round_up(len(stack.layers) * 2 * stack.attention_width, TILE_COLUMNS)
    count = int(starts[-1])
    return Source(np.empty(count * stride, np.float32), stride, np.arange(count) * stride, starts)


def allocate_cache(stack: Stack, slots: int, width: int, positions: int) -> Cache:
    layer_size = slots * positions * width * 2 * stack.attention_width
    keys_values = np.empty(len(stack.layers) * layer_size, np.float32)
    return Cache(keys_values, layer_size, np.zeros(slots * width * positions, np.int64), width, positions)


def allocate_rows(count: int) -> Rows:
    return Rows(*np.zeros((5, count), np.int64))


def allocate_candidates(rows: int, k: int) -> Candidates:
    return Candidates(
        logits=np.empty(rows * k, np.float32),
        tokens=np.empty(rows * k, np.int64),
        eos=np.empty(rows, np.float32),
        maxima=np.empty(rows, np.float32),
        sums=np.empty(rows, np.float32),
        tile=np.empty(TILE_ROWS * TILE_COLUMNS, np.float32),
    )
