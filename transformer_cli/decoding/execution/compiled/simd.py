"""The vector operations of a Transformer, for compiled functions.

Arrays are flat float32; an offset and a size count elements. Sizes are multiples of `LANES` unless
stated otherwise. The result of a row depends on this row alone: sums run in a fixed order.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types

from transformer_cli.decoding.execution.compiled.emitter import (
    FLOAT,
    INT32,
    INT64,
    INTS,
    LANES,
    TILE_VECTORS,
    VECTOR,
    Emitter,
    operation,
)

TILE_ROWS = 6
TILE_COLUMNS = LANES * TILE_VECTORS
ZERO: Any = np.int64(0)
STORE: Any = np.int64(0)
ADD: Any = np.int64(1)
RELU: Any = np.int64(2)
"""What a matrix product does with its result: store it, add it to the output, or store max(0, result).

numba compiles a function again for each Python integer that is an argument, but not for NumPy's.
"""

ERF_SCALE = 0.3275911
ERF_COEFFICIENTS = (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)
"""erf(x) = 1 - t p(t) exp(-x²), t = 1 / (1 + 0.3275911 x), x >= 0, error 1.5e-7 (Abramowitz and
Stegun, 7.1.26)."""


def _build_tile(rows: int) -> Any:
    """The product of `rows` rows and a panel of `TILE_COLUMNS` columns, accumulated in registers."""

    @operation("aiiaiaiiii")
    def tile(
        e: Emitter, _x: Any, start: Any, stride: Any, _w: Any, panel: Any, _out: Any, to: Any, step: Any,
        inner: Any, mode: Any,
    ) -> None:  # fmt: skip
        b, columns = e.builder, range(TILE_VECTORS)
        x, w, out = e.pointer(0, start), e.pointer(3, panel), e.pointer(5, to)
        sums = [[e.variable(e.constant(0.0)) for _ in columns] for _ in range(rows)]
        with e.loop(inner) as loop:
            row = e.at(w, b.mul(loop.index, INT64(TILE_COLUMNS)))
            weights = [e.load(e.at(row, c * LANES)) for c in columns]
            for r in range(rows):
                value = e.broadcast(b.load(e.at(x, b.mul(stride, INT64(r)), loop.index)))
                for c in columns:
                    b.store(e.fma(value, weights[c], b.load(sums[r][c])), sums[r][c])
        places = [[e.at(out, b.mul(step, INT64(r)), c * LANES) for c in columns] for r in range(rows)]
        with b.if_then(b.icmp_signed("==", mode, INT64(ADD))):
            for r in range(rows):
                for c in columns:
                    b.store(b.fadd(e.load(places[r][c]), b.load(sums[r][c])), sums[r][c])
        with b.if_then(b.icmp_signed("==", mode, INT64(RELU))):
            for r in range(rows):
                for c in columns:
                    b.store(e.maximum(b.load(sums[r][c]), e.constant(0.0)), sums[r][c])
        for r in range(rows):
            for c in columns:
                e.store(b.load(sums[r][c]), places[r][c])

    return tile


tile_1, tile_2, tile_3, tile_4, tile_5, tile_6 = (_build_tile(rows) for rows in range(1, TILE_ROWS + 1))


@operation("aiaiaiiiai")
def attention_scores(
    e: Emitter, _q: Any, query: Any, _keys: Any, shift: Any, _places: Any, first: Any, count: Any, size: Any,
    _out: Any, to: Any,
) -> None:  # fmt: skip
    """out[to + s] = q[query:] · keys[shift + places[first + s]:], `size` elements each, for s < count."""
    b, q, keys = e.builder, e.pointer(0, query), e.pointer(2, shift)
    places, out = e.pointer(4, first), e.pointer(8, to)
    with e.loop(count) as position:
        key, total = e.at(keys, b.load(e.at(places, position.index))), e.variable(e.constant(0.0))
        with e.loop_vectors(size) as chunk:
            offset = b.mul(chunk.index, INT64(LANES))
            b.store(e.fma(e.load(e.at(q, offset)), e.load(e.at(key, offset)), b.load(total)), total)
        b.store(e.sum(b.load(total)), e.at(out, position.index))


@operation("aiiaiaiiiai")
def attention_sum(
    e: Emitter, _weights: Any, start: Any, scale: Any, _values: Any, shift: Any, _places: Any, first: Any,
    count: Any, size: Any, _out: Any, to: Any,
) -> None:  # fmt: skip
    """out[to:] = weights[scale] Σ weights[start + s] values[shift + places[first + s]:] over s < count.

    `size`: number of elements of each value.
    """
    b, weights, values, places = e.builder, e.pointer(0, start), e.pointer(3, shift), e.pointer(5, first)
    out, factor = e.pointer(9, to), e.broadcast(b.load(e.pointer(0, scale)))
    with e.loop_vectors(size) as chunk:
        offset, total = b.mul(chunk.index, INT64(LANES)), e.variable(e.constant(0.0))
        with e.loop(count) as position:
            value = e.load(e.at(values, b.load(e.at(places, position.index)), offset))
            weight = e.broadcast(b.load(e.at(weights, position.index)))
            b.store(e.fma(weight, value, b.load(total)), total)
        e.store(b.fmul(b.load(total), factor), e.at(out, offset))


@operation("aiii")
def exponentials(e: Emitter, _x: Any, count: Any, stride: Any, heads: Any) -> None:
    """x = exp(x - maximum) in place, for `heads` rows of `count` elements, any count, at multiples of `stride`.

    The stride has room for whole vectors. After the rows follow the sum of each row, inverted, and as
    many elements of scratch. Each pass is over all rows, so that their latencies overlap.
    """
    b, x = e.builder, e.pointer(0)
    vectors = b.udiv(b.add(count, INT64(LANES - 1)), INT64(LANES))
    sums = e.at(x, b.mul(stride, heads))
    with e.loop(heads) as head:
        row, largest = e.at(x, b.mul(head.index, stride)), e.variable(e.constant(-math.inf))
        with e.loop(b.sub(b.mul(vectors, INT64(LANES)), count)) as rest:
            b.store(ir.Constant(FLOAT, -math.inf), e.at(row, count, rest.index))
        with e.loop(vectors) as chunk:
            vector = e.load(e.at(row, b.mul(chunk.index, INT64(LANES))))
            b.store(e.maximum(vector, b.load(largest)), largest)
        b.store(e.reduce(b.load(largest), e.maximum), e.at(sums, heads, head.index))
    with e.loop(heads) as head:
        row, total = e.at(x, b.mul(head.index, stride)), e.variable(e.constant(0.0))
        maximum = e.broadcast(b.load(e.at(sums, heads, head.index)))
        with e.loop(vectors) as chunk:
            place = e.at(row, b.mul(chunk.index, INT64(LANES)))
            value = e.exp(b.fsub(e.load(place), maximum))
            e.store(value, place)
            b.store(b.fadd(b.load(total), value), total)
        b.store(b.fdiv(ir.Constant(FLOAT, 1.0), e.sum(b.load(total))), e.at(sums, head.index))


@operation("aiaiaiiif")
def normalize(
    e: Emitter, _x: Any, start: Any, _gain: Any, at: Any, _out: Any, to: Any, size: Any, centred: Any, epsilon: Any
) -> None:
    """out[to:] = the norm of x[start:], times gain[at:]: LayerNorm if `centred` is 1, RMSNorm if 0."""
    b, x, gain, out = e.builder, e.pointer(0, start), e.pointer(2, at), e.pointer(4, to)
    count = b.sitofp(size, FLOAT)
    total = e.variable(e.constant(0.0))
    with e.loop_vectors(size) as chunk:
        b.store(b.fadd(b.load(total), e.load(e.at(x, b.mul(chunk.index, INT64(LANES))))), total)
    mean = b.fmul(b.fdiv(e.sum(b.load(total)), count), b.sitofp(centred, FLOAT))
    mean = e.broadcast(mean)
    squares = e.variable(e.constant(0.0))
    with e.loop_vectors(size) as chunk:
        value = b.fsub(e.load(e.at(x, b.mul(chunk.index, INT64(LANES)))), mean)
        b.store(e.fma(value, value, b.load(squares)), squares)
    variance = b.fadd(b.fdiv(e.sum(b.load(squares)), count), epsilon)
    scale = b.fdiv(e.constant(1.0), e.call("sqrt", e.broadcast(variance)))
    with e.loop_vectors(size) as chunk:
        offset = b.mul(chunk.index, INT64(LANES))
        value = b.fmul(b.fsub(e.load(e.at(x, offset)), mean), scale)
        e.store(b.fmul(value, e.load(e.at(gain, offset))), e.at(out, offset))


@operation("aiaaiii")
def rotate(e: Emitter, _x: Any, start: Any, _cos: Any, _sin: Any, at: Any, size: Any, heads: Any) -> None:
    """Rotate each pair of coordinates of `heads` vectors of x[start:] in place.

    cos[at:] and sin[at:] have an element for each coordinate; the sines of the first of each pair are negative.
    """
    b, cos, sin = e.builder, e.pointer(2, at), e.pointer(3, at)
    swap = ir.Constant(INTS, [lane ^ 1 for lane in range(LANES)])
    with e.loop(heads) as head:
        x = e.pointer(0, start, b.mul(head.index, size))
        with e.loop_vectors(size) as chunk:
            offset = b.mul(chunk.index, INT64(LANES))
            place = e.at(x, offset)
            value = e.load(place)
            swapped = b.shuffle_vector(value, ir.Constant(VECTOR, ir.Undefined), swap)
            product = b.fmul(swapped, e.load(e.at(sin, offset)))
            e.store(e.fma(value, e.load(e.at(cos, offset)), product), place)


@operation("aii")
def gelu(e: Emitter, _x: Any, start: Any, size: Any) -> None:
    """x[start:] = x Φ(x), in place (Hendrycks and Gimpel 2016)."""
    b, x = e.builder, e.pointer(0, start)
    with e.loop_vectors(size) as chunk:
        place = e.at(x, b.mul(chunk.index, INT64(LANES)))
        value = e.load(place)
        scaled = b.fmul(value, e.constant(math.sqrt(0.5)))
        negative = b.fcmp_ordered("<", scaled, e.constant(0.0))
        size_ = b.select(negative, b.fneg(scaled), scaled)
        t = b.fdiv(e.constant(1.0), e.fma(size_, e.constant(ERF_SCALE), e.constant(1.0)))
        p = e.constant(ERF_COEFFICIENTS[0])
        for coefficient in ERF_COEFFICIENTS[1:]:
            p = e.fma(p, t, e.constant(coefficient))
        tail = b.fmul(b.fmul(p, t), e.exp(b.fneg(b.fmul(size_, size_))))  # 1 - erf(|x| / √2)
        doubled = b.select(negative, tail, b.fsub(e.constant(2.0), tail))
        e.store(b.fmul(b.fmul(value, e.constant(0.5)), doubled), place)


@operation("aiii")
def swiglu(e: Emitter, _x: Any, gate: Any, other: Any, size: Any) -> None:
    """x[gate:] = SiLU(x[gate:]) * x[other:], in place."""
    b, gates, values = e.builder, e.pointer(0, gate), e.pointer(0, other)
    with e.loop_vectors(size) as chunk:
        offset = b.mul(chunk.index, INT64(LANES))
        place = e.at(gates, offset)
        value = e.load(place)
        silu = b.fdiv(value, b.fadd(e.constant(1.0), e.exp(b.fneg(value))))
        e.store(b.fmul(silu, e.load(e.at(values, offset))), place)


@operation("aii", types.float32)
def row_maximum(e: Emitter, _x: Any, start: Any, size: Any) -> Any:
    """The largest element of x[start:]; NaN is ignored."""
    b, x, largest = e.builder, e.pointer(0, start), e.variable(e.constant(-math.inf))
    with e.loop_vectors(size) as chunk:
        b.store(e.maximum(e.load(e.at(x, b.mul(chunk.index, INT64(LANES)))), b.load(largest)), largest)
    return e.reduce(b.load(largest), e.maximum)


@operation("aiif", types.float32)
def sum_exponentials(e: Emitter, _x: Any, start: Any, size: Any, maximum: Any) -> Any:
    """The sum of exp(x - maximum) over x[start:]."""
    b, x, total, shift = e.builder, e.pointer(0, start), e.variable(e.constant(0.0)), e.broadcast(maximum)
    with e.loop_vectors(size) as chunk:
        value = e.exp(b.fsub(e.load(e.at(x, b.mul(chunk.index, INT64(LANES)))), shift))
        b.store(b.fadd(b.load(total), value), total)
    return e.sum(b.load(total))


@operation("aif", types.int64)
def larger_columns(e: Emitter, _x: Any, start: Any, threshold: Any) -> Any:
    """A bit for each of the `TILE_COLUMNS` elements of x[start:]: whether it is larger than the threshold."""
    b, x, limit, bits = e.builder, e.pointer(0, start), e.broadcast(threshold), INT64(0)
    for c in range(TILE_VECTORS):
        larger = b.bitcast(b.fcmp_ordered(">", e.load(e.at(x, c * LANES)), limit), ir.IntType(LANES))
        bits = b.or_(bits, b.shl(b.zext(larger, INT64), INT64(c * LANES)))
    return bits


@operation("i", types.int64)
def lowest_bit(e: Emitter, bits: Any) -> Any:
    """The index of the lowest bit that is set; at least one must be."""
    return e.builder.cttz(bits, ir.Constant(ir.IntType(1), 1))


@operation("f", types.float32)
def exponential(e: Emitter, x: Any) -> Any:
    """exp(x), as in the other operations."""
    return e.builder.extract_element(e.exp(e.broadcast(x)), INT32(0))
