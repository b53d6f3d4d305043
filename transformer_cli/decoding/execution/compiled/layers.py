"""The layers of a Transformer as compiled functions on flat arrays.

Shapes: N rows (tokens of sentences, or hypotheses), D, H, K, A, F as in `weights`. The rows of a buffer start at
multiples of its stride, which is a number of whole panels.
"""

from __future__ import annotations

from transformer_cli.decoding.execution.compiled import simd
from transformer_cli.decoding.execution.compiled.buffers import Activations
from transformer_cli.decoding.execution.compiled.emitter import LANES
from transformer_cli.decoding.execution.compiled.products import compiled, multiply
from transformer_cli.decoding.execution.compiled.simd import ADD, RELU, STORE, ZERO
from transformer_cli.decoding.execution.compiled.weights import (
    CROSS_NORM,
    CROSS_QUERY,
    DOWN,
    FEED_NORM,
    GELU_ACTIVATION,
    QUERY_KEY_VALUE,
    RELU_ACTIVATION,
    SELF_NORM,
    SWIGLU_ACTIVATION,
    UP,
    Floats,
    Ints,
    PositionTables,
    Stack,
)


@compiled
def embed(stack: Stack, tables: PositionTables, token: int, position: int, out: Floats, to: int) -> None:
    """The input of the first layer: the embedding of a token at a position."""
    start = stack.embedding + token * stack.width
    for d in range(stack.width):
        out[to + d] = stack.weights[start + d]
    if tables.added.size:
        for d in range(stack.width):
            out[to + d] += tables.added[position * stack.width + d]


@compiled
def normalize_rows(stack: Stack, gain: int, x: Floats, out: Floats, stride: int, rows: int) -> None:
    """The norm of each row; `gain`: where its gain starts."""
    for row in range(rows):
        simd.normalize(
            x, row * stride, stack.weights, gain, out, row * stride, stack.width, stack.centred, stack.epsilon
        )


@compiled
def enter_branch(stack: Stack, gain: int, b: Activations, rows: int) -> Floats:
    """The input of a residual branch."""
    if not stack.pre_norm:
        return b.x
    normalize_rows(stack, gain, b.x, b.normed, b.stride, rows)
    return b.normed


@compiled
def leave_branch(stack: Stack, gain: int, b: Activations, rows: int) -> None:
    """What follows after a branch was added to the residual path."""
    if not stack.pre_norm:
        normalize_rows(stack, gain, b.x, b.x, b.stride, rows)


@compiled
def attend(
    stack: Stack, queries: Floats, query: int, cache: Floats, shift: int, places: Ints, first: int, count: int,
    scores: Floats, out: Floats, to: int,
) -> None:  # fmt: skip
    """Attention of one row to `count` positions.

    Position s has its keys and values, 2A elements, in cache[shift + places[first + s]:].
    """
    size, heads = stack.head_size, stack.heads
    stride = (count + LANES - 1) // LANES * LANES
    for head in range(heads):
        offset = head * size
        simd.attention_scores(
            queries, query + offset, cache, shift + offset, places, first, count, size, scores, head * stride
        )
    simd.exponentials(scores, count, stride, heads)
    values = shift + stack.attention_width
    for head in range(heads):
        offset = head * size
        simd.attention_sum(
            scores, head * stride, heads * stride + head, cache, values + offset, places, first, count, size, out,
            to + offset,
        )  # fmt: skip


@compiled
def project_query_key_value(stack: Stack, layer: int, b: Activations, rows: int) -> None:
    """Queries, keys and values of each row, not rotated yet, to `b.projected`."""
    offsets = stack.layers[layer]
    x = enter_branch(stack, offsets[SELF_NORM], b, rows)
    width = 3 * stack.attention_width
    multiply(
        stack, b, x, b.stride, offsets[QUERY_KEY_VALUE], b.projected, ZERO, b.projected_stride, rows,
        stack.width, width, STORE,
    )  # fmt: skip


@compiled
def rotate_query_key(stack: Stack, tables: PositionTables, position: int, b: Activations, start: int) -> None:
    """Apply rotary positions to the queries and keys of a row."""
    if tables.cos.size:
        size = stack.head_size
        simd.rotate(b.projected, start, tables.cos, tables.sin, position * size, size, 2 * stack.heads)


@compiled
def add_heads(stack: Stack, matrix: int, norm: int, b: Activations, rows: int) -> None:
    """The output projection of attention, added to the residual path."""
    multiply(
        stack, b, b.heads, stack.attention_width, matrix, b.x, ZERO, b.stride, rows,
        stack.attention_width, stack.width, ADD,
    )  # fmt: skip
    leave_branch(stack, norm, b, rows)


@compiled
def feed_forward(stack: Stack, layer: int, b: Activations, rows: int) -> None:
    """The feed-forward network, added to the residual path."""
    offsets, width = stack.layers[layer], stack.inner_stride
    x = enter_branch(stack, offsets[FEED_NORM], b, rows)
    mode = RELU if stack.activation == RELU_ACTIVATION else STORE
    multiply(
        stack, b, x, b.stride, offsets[UP], b.inner, ZERO, b.inner_stride, rows, stack.width, b.inner_stride,
        mode,
    )  # fmt: skip
    if stack.activation == GELU_ACTIVATION:
        simd.gelu(b.inner, 0, rows * width)
    elif stack.activation == SWIGLU_ACTIVATION:
        for row in range(rows):
            simd.swiglu(b.inner, row * b.inner_stride, row * b.inner_stride + width, width)
    multiply(
        stack, b, b.inner, b.inner_stride, offsets[DOWN], b.x, ZERO, b.stride, rows, stack.inner, stack.width,
        ADD,
    )  # fmt: skip
    leave_branch(stack, offsets[FEED_NORM], b, rows)


@compiled
def final_norm(stack: Stack, b: Activations, rows: int) -> Floats:
    """The output of the stack."""
    if stack.final_norm < 0:
        return b.x
    normalize_rows(stack, stack.final_norm, b.x, b.normed, b.stride, rows)
    return b.normed


@compiled
def cross_attention_inputs(stack: Stack, layer: int, b: Activations, rows: int) -> None:
    """The queries of cross-attention of each row, to `b.projected`."""
    offsets = stack.layers[layer]
    x = enter_branch(stack, offsets[CROSS_NORM], b, rows)
    multiply(
        stack, b, x, b.stride, offsets[CROSS_QUERY], b.projected, ZERO,
        b.projected_stride, rows, stack.width, stack.attention_width, STORE,
    )  # fmt: skip
