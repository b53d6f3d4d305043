"""The encoder, and the keys and values of the source that the decoder attends to.

Shapes: B sentences, N tokens of all sentences, L decoder layers, D, A as in `weights`.
"""

from __future__ import annotations

from transformer_cli.decoding.execution.compiled.buffers import Activations, Source
from transformer_cli.decoding.execution.compiled.layers import (
    add_heads,
    attend,
    embed,
    feed_forward,
    final_norm,
    project_query_key_value,
    rotate_query_key,
)
from transformer_cli.decoding.execution.compiled.products import compiled, multiply
from transformer_cli.decoding.execution.compiled.simd import STORE
from transformer_cli.decoding.execution.compiled.weights import (
    SELF_NORM,
    SELF_OUT,
    Floats,
    Ints,
    PositionTables,
    Projections,
    Stack,
)

CHUNK = 192
"""Tokens that are encoded together, so that their activations stay in the cache of a core."""


@compiled
def project_states(
    decoder: Stack, projections: Projections, b: Activations, states: Floats, rows: int, out: Source, first: int
) -> None:
    """Keys and values of encoder states, `[rows, D]`, for all layers of the decoder, to tokens `first`, ..."""
    columns = len(decoder.layers) * 2 * decoder.attention_width
    multiply(
        decoder, b, states, b.stride, projections.key_value, out.keys_values, first * out.stride, out.stride, rows,
        decoder.width, columns, STORE,
    )  # fmt: skip


@compiled
def encode(
    stack: Stack, tables: PositionTables, decoder: Stack, projections: Projections, tokens: Ints, places: Ints,
    b: Activations, out: Source,
) -> None:  # fmt: skip
    """Compute the keys and values of all decoder layers for each source token.

    Args:
        tokens: `[N]`, the sentences of `out` end to end.
        places: where each row of `b.projected` starts.
        b: buffers for `CHUNK` rows more than the longest sentence has.
    """
    starts = out.starts
    begin, sentences = 0, len(out.starts) - 1
    while begin < sentences:
        end = begin + 1
        while end < sentences and starts[end] - starts[begin] < CHUNK:
            end += 1
        first = starts[begin]
        rows = starts[end] - first
        for sentence in range(begin, end):
            for i in range(starts[sentence], starts[sentence + 1]):
                embed(stack, tables, tokens[i], i - starts[sentence], b.x, (i - first) * b.stride)
        for layer in range(len(stack.layers)):
            project_query_key_value(stack, layer, b, rows)
            for sentence in range(begin, end):
                start, count = starts[sentence] - first, starts[sentence + 1] - starts[sentence]
                for i in range(count):
                    rotate_query_key(stack, tables, i, b, (start + i) * b.projected_stride)
                for row in range(start, start + count):
                    attend(
                        stack, b.projected, row * b.projected_stride, b.projected, stack.attention_width, places,
                        start, count, b.scores, b.heads, row * stack.attention_width,
                    )  # fmt: skip
            add_heads(stack, stack.layers[layer, SELF_OUT], stack.layers[layer, SELF_NORM], b, rows)
            feed_forward(stack, layer, b, rows)
        project_states(decoder, projections, b, final_norm(stack, b, rows), rows, out, first)
        begin = end
