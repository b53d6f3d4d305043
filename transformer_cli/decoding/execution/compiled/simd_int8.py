"""Products of 8-bit integers with the instructions of VNNI, which sum four of them into 32 bits.

The weights of an output are quantized symmetrically, with a scale of their own. Rows are quantized
when they enter a product, each with its own scale and zero point, so that the result of a row does
not depend on other rows. Each panel of weights has three parts: `[I / 4, C, 4]` int8, C scales in
float32, and C sums of weights in int32, which remove the zero point from the product.

Shapes: I inputs, C `TILE_COLUMNS`.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from transformer_cli.decoding.execution.compiled.emitter import (
    FLOAT,
    HAS_VNNI,
    INT32,
    INT64,
    INTS,
    LANES,
    TILE_VECTORS,
    VECTOR,
    Emitter,
    cgutils,
    operation,
)
from transformer_cli.decoding.execution.compiled.simd import ADD, RELU, TILE_COLUMNS, TILE_ROWS

PANEL_EXTRA = 8 * TILE_COLUMNS
"""Bytes of the scales and sums of a panel."""
GROUP = 4
"""Inputs that one instruction sums."""
BYTES = ir.VectorType(ir.IntType(8), LANES)
LEVELS = 255


def _build_tile(rows: int) -> Any:
    """The product of `rows` quantized rows and a panel, as float32."""

    @operation("aiiaaiaiaiiii")
    def tile(
        e: Emitter, _x: Any, start: Any, stride: Any, _scales: Any, _zeros: Any, first: Any, _w: Any, panel: Any,
        _out: Any, to: Any, step: Any, inner: Any, mode: Any,
    ) -> None:  # fmt: skip
        if not HAS_VNNI:  # never called: `compiled_unsupported_reason`
            return
        b, columns = e.builder, range(TILE_VECTORS)
        x, w, out = e.pointer(0, start), e.pointer(6, panel), e.pointer(8, to)
        sums = [[e.variable(ir.Constant(INTS, [0] * LANES)) for _ in columns] for _ in range(rows)]
        with e.loop(b.udiv(inner, INT64(GROUP))) as loop:
            row = e.at(w, b.mul(loop.index, INT64(GROUP * TILE_COLUMNS)))
            weights = [_load_ints(e, e.at(row, c * GROUP * LANES)) for c in columns]
            for r in range(rows):
                place = e.at(x, b.mul(stride, INT64(r)), b.mul(loop.index, INT64(GROUP)))
                group = e.broadcast(b.load(b.bitcast(place, INT32.as_pointer()), align=1))
                for c in columns:
                    b.store(_dot(e, b.load(sums[r][c]), group, weights[c]), sums[r][c])
        extra = e.at(w, b.mul(inner, INT64(TILE_COLUMNS)))
        scales = [_load_floats(e, e.at(extra, 4 * c * LANES)) for c in columns]
        totals = [_load_ints(e, e.at(extra, 4 * (TILE_COLUMNS + c * LANES))) for c in columns]
        for r in range(rows):
            scale = e.broadcast(b.load(e.pointer(3, first, r)))
            zero = e.broadcast(b.load(e.pointer(4, first, r)))
            for c in columns:
                exact = b.sub(b.load(sums[r][c]), b.mul(zero, totals[c]))
                value = e.variable(b.fmul(b.sitofp(exact, VECTOR), b.fmul(scale, scales[c])))
                place = e.at(out, b.mul(step, INT64(r)), c * LANES)
                with b.if_then(b.icmp_signed("==", mode, INT64(int(ADD)))):
                    b.store(b.fadd(e.load(place), b.load(value)), value)
                with b.if_then(b.icmp_signed("==", mode, INT64(int(RELU)))):
                    b.store(e.maximum(b.load(value), e.constant(0.0)), value)
                e.store(b.load(value), place)

    return tile


def _load_ints(e: Emitter, address: Any) -> Any:
    return e.builder.load(e.builder.bitcast(address, INTS.as_pointer()), align=1)


def _load_floats(e: Emitter, address: Any) -> Any:
    return e.builder.load(e.builder.bitcast(address, VECTOR.as_pointer()), align=1)


def _dot(e: Emitter, total: Any, unsigned: Any, signed: Any) -> Any:
    """total + the sums of four products of unsigned and signed bytes."""
    function = ir.FunctionType(INTS, [INTS] * 3)
    name = f"llvm.x86.avx512.vpdpbusd.{32 * LANES}"
    return e.builder.call(
        cgutils.get_or_insert_function(e.builder.module, function, name), (total, unsigned, signed)
    )


tile_1, tile_2, tile_3, tile_4, tile_5, tile_6 = (_build_tile(rows) for rows in range(1, TILE_ROWS + 1))


@operation("aiiaiaai")
def quantize_row(
    e: Emitter, _x: Any, start: Any, size: Any, _out: Any, to: Any, _scales: Any, _zeros: Any, row: Any
) -> None:
    """Quantize x[start:] to out[to:], `size` elements, and store its scale and zero point as those of the row.

    The range includes 0, which is represented exactly.
    """
    b, x, out = e.builder, e.pointer(0, start), e.pointer(3, to)
    low, high = e.variable(e.constant(0.0)), e.variable(e.constant(0.0))
    with e.loop_vectors(size) as chunk:
        value = e.load(e.at(x, b.mul(chunk.index, INT64(LANES))))
        b.store(e.maximum(value, b.load(high)), high)
        b.store(b.fneg(e.maximum(b.fneg(value), b.fneg(b.load(low)))), low)
    highest = e.reduce(b.load(high), e.maximum)
    lowest = b.fneg(e.reduce(b.fneg(b.load(low)), e.maximum))
    step = b.fdiv(b.fsub(highest, lowest), ir.Constant(FLOAT, float(LEVELS)))
    step = e.maximum(step, ir.Constant(FLOAT, 1e-30))
    inverse = e.broadcast(b.fdiv(ir.Constant(FLOAT, 1.0), step))
    zeros = b.fptosi(e.call("rint", b.fneg(b.fmul(e.broadcast(lowest), inverse))), INTS)
    b.store(step, e.pointer(5, row))
    b.store(b.extract_element(zeros, INT32(0)), e.pointer(6, row))
    limit = ir.Constant(INTS, [LEVELS] * LANES)
    with e.loop_vectors(size) as chunk:
        offset = b.mul(chunk.index, INT64(LANES))
        level = b.fptosi(e.call("rint", b.fmul(e.load(e.at(x, offset)), inverse)), INTS)
        level = b.add(level, zeros)
        level = b.select(b.icmp_signed("<", level, limit), level, limit)
        b.store(b.trunc(level, BYTES), b.bitcast(e.at(out, offset), BYTES.as_pointer()), align=1)
