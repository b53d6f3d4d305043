"""A decoding step, and the choice of the likeliest next tokens.

Shapes: N rows, each a hypothesis of a sentence; R slots for sentences, W beams, T positions of the
target; V vocabulary; D, A as in `weights`.

Rows may be at different positions: a sentence that has finished leaves its slot to the next one.
The keys and values of the target are written in place and never move. `Cache.places` tells where
each hypothesis finds those of its history; reordering the beams of a sentence reorders this table
only.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from transformer_cli.decoding.execution.compiled import simd
from transformer_cli.decoding.execution.compiled.buffers import Activations, Cache, Candidates, Rows, Source
from transformer_cli.decoding.execution.compiled.layers import (
    add_heads,
    attend,
    cross_attention_inputs,
    feed_forward,
    final_norm,
    project_query_key_value,
    rotate_query_key,
)
from transformer_cli.decoding.execution.compiled.products import compiled, multiply_panel, quantize_rows
from transformer_cli.decoding.execution.compiled.simd import STORE, TILE_COLUMNS, TILE_ROWS, ZERO
from transformer_cli.decoding.execution.compiled.weights import (
    CROSS_NORM,
    CROSS_OUT,
    SELF_NORM,
    SELF_OUT,
    Floats,
    PositionTables,
    Projections,
    Stack,
)
from transformer_cli.token_ids import EOS

TILE_STRIDE: Any = np.int64(TILE_COLUMNS)


@compiled
def decode_step(
    stack: Stack, tables: PositionTables, source: Source, cache: Cache, rows: Rows, count: int, b: Activations
) -> Floats:
    """Embedded tokens of the first `count` rows in `b.x` -> the states that predict the next tokens, `[N, D]`."""
    step, width = b.projected_stride, 2 * stack.attention_width
    for row in range(count):  # where each row writes its keys and values
        slot, beam, position = rows.slots[row], rows.beams[row], rows.positions[row]
        place = ((slot * cache.positions + position) * cache.width + beam) * width
        cache.places[(slot * cache.width + beam) * cache.positions + position] = place
    for layer in range(len(stack.layers)):
        offsets = stack.layers[layer]
        project_query_key_value(stack, layer, b, count)
        for row in range(count):
            position, start = rows.positions[row], row * step
            rotate_query_key(stack, tables, position, b, start)
            first = (rows.slots[row] * cache.width + rows.beams[row]) * cache.positions
            place = layer * cache.layer_size + cache.places[first + position]
            for i in range(width):
                cache.keys_values[place + i] = b.projected[start + stack.attention_width + i]
            attend(
                stack, b.projected, start, cache.keys_values, layer * cache.layer_size, cache.places, first,
                position + 1, b.scores, b.heads, row * stack.attention_width,
            )  # fmt: skip
        add_heads(stack, offsets[SELF_OUT], offsets[SELF_NORM], b, count)
        cross_attention_inputs(stack, layer, b, count)
        for row in range(count):
            first = source.starts[rows.sentences[row]]
            attend(
                stack, b.projected, row * step, source.keys_values, layer * width, source.places, first,
                source.starts[rows.sentences[row] + 1] - first, b.scores, b.heads, row * stack.attention_width,
            )  # fmt: skip
        add_heads(stack, offsets[CROSS_OUT], offsets[CROSS_NORM], b, count)
        feed_forward(stack, layer, b, count)
    return final_norm(stack, b, count)


@compiled
def find_candidates(
    stack: Stack,
    projections: Projections,
    b: Activations,
    states: Floats,
    count: int,
    scored: bool,
    out: Candidates,
) -> None:
    """The likeliest tokens of each row, and, if `scored`, the sums of its softmax.

    The logits of a tile are used while they are in the nearest cache, and are not kept.
    """
    k = len(out.tokens) // len(out.eos)
    for i in range(count * k):
        out.logits[i], out.tokens[i] = -math.inf, EOS
    for row in range(count):
        out.maxima[row], out.sums[row] = -math.inf, 0.0
    quantize_rows(stack, b, states, b.stride, count, stack.width)
    for column in range(0, projections.vocab, TILE_COLUMNS):
        for first in range(0, count, TILE_ROWS):
            rows = count - first if count - first < TILE_ROWS else TILE_ROWS
            multiply_panel(
                stack, b, states, first, b.stride, projections.output, column, out.tile, ZERO, TILE_STRIDE, rows,
                stack.width, STORE,
            )  # fmt: skip
            scan_tile(projections.vocab, column, first, rows, k, scored, out)


@compiled
def scan_tile(vocab: int, column: int, first: int, rows: int, k: int, scored: bool, out: Candidates) -> None:
    """Update the candidates of the rows `first`, ... by the logits of the tokens `column`, ..., in `out.tile`."""
    tile = out.tile
    for i in range(rows):
        row, start = first + i, i * TILE_COLUMNS
        if vocab - column < TILE_COLUMNS:
            for j in range(vocab - column, TILE_COLUMNS):
                tile[start + j] = -math.inf
        if scored:
            maximum = simd.row_maximum(tile, start, TILE_COLUMNS)
            if maximum > out.maxima[row]:
                out.sums[row] *= simd.exponential(out.maxima[row] - maximum)
                out.maxima[row] = maximum
            out.sums[row] += simd.sum_exponentials(tile, start, TILE_COLUMNS, out.maxima[row])
        if column == 0:
            out.eos[row] = tile[start + EOS]
            for j in range(EOS):  # PAD, UNK, BOS
                tile[start + j] = -math.inf
        last = row * k + k - 1
        larger = simd.larger_columns(tile, start, out.logits[last])
        while larger:
            lane = simd.lowest_bit(larger)
            larger &= larger - 1
            logit = tile[start + lane]
            if logit > out.logits[last]:
                place = last
                while place > row * k and out.logits[place - 1] < logit:
                    out.logits[place] = out.logits[place - 1]
                    out.tokens[place] = out.tokens[place - 1]
                    place -= 1
                out.logits[place] = logit
                out.tokens[place] = column + lane
