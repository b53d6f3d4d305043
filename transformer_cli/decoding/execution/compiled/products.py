"""Linear maps as compiled functions: float32, or 8-bit integers where the weights are quantized.

Every element of a product is summed in the same order, whatever the number of rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

from transformer_cli.decoding.execution.compiled import simd, simd_int8
from transformer_cli.decoding.execution.compiled.buffers import Activations
from transformer_cli.decoding.execution.compiled.emitter import LANES
from transformer_cli.decoding.execution.compiled.simd import TILE_COLUMNS, TILE_ROWS
from transformer_cli.decoding.execution.compiled.simd_int8 import PANEL_EXTRA
from transformer_cli.decoding.execution.compiled.weights import Floats, Stack

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Decorator: compile a function when it is first called, and run it without the interpreter lock."""
    decorate: Any = numba.njit(nogil=True, cache=True, error_model="numpy")
    result: Function = decorate(function)
    return result


@compiled
def quantize_rows(stack: Stack, b: Activations, x: Floats, stride: int, rows: int, inner: int) -> None:
    """Quantize rows of `inner` elements to `b.quantized`. Does nothing if the weights are not quantized."""
    if stack.quantized.size:
        width = (inner + LANES - 1) // LANES * LANES
        for row in range(rows):
            simd_int8.quantize_row(
                x, row * stride, width, b.quantized, row * width, b.row_scales, b.row_zeros, row
            )


@compiled
def multiply_tile(
    stack: Stack, b: Activations, rows: int, x: Floats, first: int, stride: int, matrix: int, column: int,
    out: Floats, to: int, step: int, inner: int, mode: int,
) -> None:  # fmt: skip
    """The product of up to `TILE_ROWS` rows of x, from `first`, and the panel of a matrix that starts at `column`.

    The rows have been quantized by `quantize_rows`.
    """
    if stack.quantized.size:
        width = (inner + LANES - 1) // LANES * LANES
        panel = matrix + column * width + column // TILE_COLUMNS * PANEL_EXTRA
        q, start, scales, zeros, weights = b.quantized, first * width, b.row_scales, b.row_zeros, stack.quantized
        if rows >= TILE_ROWS:
            simd_int8.tile_6(q, start, width, scales, zeros, first, weights, panel, out, to, step, width, mode)
        elif rows == 5:
            simd_int8.tile_5(q, start, width, scales, zeros, first, weights, panel, out, to, step, width, mode)
        elif rows == 4:
            simd_int8.tile_4(q, start, width, scales, zeros, first, weights, panel, out, to, step, width, mode)
        elif rows == 3:
            simd_int8.tile_3(q, start, width, scales, zeros, first, weights, panel, out, to, step, width, mode)
        elif rows == 2:
            simd_int8.tile_2(q, start, width, scales, zeros, first, weights, panel, out, to, step, width, mode)
        else:
            simd_int8.tile_1(q, start, width, scales, zeros, first, weights, panel, out, to, step, width, mode)
        return
    start, panel = first * stride, matrix + column * inner
    if rows >= TILE_ROWS:
        simd.tile_6(x, start, stride, stack.weights, panel, out, to, step, inner, mode)
    elif rows == 5:
        simd.tile_5(x, start, stride, stack.weights, panel, out, to, step, inner, mode)
    elif rows == 4:
        simd.tile_4(x, start, stride, stack.weights, panel, out, to, step, inner, mode)
    elif rows == 3:
        simd.tile_3(x, start, stride, stack.weights, panel, out, to, step, inner, mode)
    elif rows == 2:
        simd.tile_2(x, start, stride, stack.weights, panel, out, to, step, inner, mode)
    else:
        simd.tile_1(x, start, stride, stack.weights, panel, out, to, step, inner, mode)


@compiled
def multiply(
    stack: Stack, b: Activations, x: Floats, stride: int, matrix: int, out: Floats, to: int, step: int, rows: int,
    inner: int, outputs: int, mode: int,
) -> None:  # fmt: skip
    """x Wᵀ: rows of `inner` elements and the matrix `[outputs, inner]` that starts at `matrix` -> out[to:].

    Args:
        stride, step: distance between two rows of x and of the output.
        mode: what happens to the product; see `simd`.
    """
    quantize_rows(stack, b, x, stride, rows, inner)
    for column in range(0, outputs, TILE_COLUMNS):
        for row in range(0, rows, TILE_ROWS):
            multiply_tile(
                stack,
                b,
                rows - row,
                x,
                row,
                stride,
                matrix,
                column,
                out,
                to + row * step + column,
                step,
                inner,
                mode,
            )
