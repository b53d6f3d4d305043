"""Linear maps as compiled functions: float32, or 8-bit integers where the weights are quantized.

Every element of a product is summed in the same order, whatever the number of rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np
from numpy.typing import NDArray

from transformer_cli.decoding.execution.compiled import simd, simd_int8
from transformer_cli.decoding.execution.compiled.buffers import Activations
from transformer_cli.decoding.execution.compiled.emitter import LANES
from transformer_cli.decoding.execution.compiled.simd import TILE_COLUMNS, TILE_ROWS, ZERO
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
def multiply_panel_fp32(
    x: Floats, start: int, stride: int, weights: Floats, panel: int, out: Floats, to: int, step: int, rows: int,
    inner: int, mode: int,
) -> None:  # fmt: skip
    """The product of rows of x[start:] and the panel that starts at weights[panel:]."""
    while rows >= TILE_ROWS:
        simd.tile_6(x, start, stride, weights, panel, out, to, step, inner, mode)
        start, to, rows = start + TILE_ROWS * stride, to + TILE_ROWS * step, rows - TILE_ROWS
    if rows == 5:
        simd.tile_5(x, start, stride, weights, panel, out, to, step, inner, mode)
    elif rows == 4:
        simd.tile_4(x, start, stride, weights, panel, out, to, step, inner, mode)
    elif rows == 3:
        simd.tile_3(x, start, stride, weights, panel, out, to, step, inner, mode)
    elif rows == 2:
        simd.tile_2(x, start, stride, weights, panel, out, to, step, inner, mode)
    elif rows == 1:
        simd.tile_1(x, start, stride, weights, panel, out, to, step, inner, mode)


@compiled
def multiply_panel_int8(
    x: NDArray[np.uint8], width: int, scales: Floats, zeros: NDArray[np.int32], row: int,
    weights: NDArray[np.int8], panel: int, out: Floats, to: int, step: int, rows: int, mode: int,
) -> None:  # fmt: skip
    """The product of quantized rows, from `row`, and the panel that starts at weights[panel:]."""
    while rows >= TILE_ROWS:
        simd_int8.tile_6(x, row * width, width, scales, zeros, row, weights, panel, out, to, step, width, mode)
        row, to, rows = row + TILE_ROWS, to + TILE_ROWS * step, rows - TILE_ROWS
    if rows == 5:
        simd_int8.tile_5(x, row * width, width, scales, zeros, row, weights, panel, out, to, step, width, mode)
    elif rows == 4:
        simd_int8.tile_4(x, row * width, width, scales, zeros, row, weights, panel, out, to, step, width, mode)
    elif rows == 3:
        simd_int8.tile_3(x, row * width, width, scales, zeros, row, weights, panel, out, to, step, width, mode)
    elif rows == 2:
        simd_int8.tile_2(x, row * width, width, scales, zeros, row, weights, panel, out, to, step, width, mode)
    elif rows == 1:
        simd_int8.tile_1(x, row * width, width, scales, zeros, row, weights, panel, out, to, step, width, mode)


@compiled
def multiply_panel(
    stack: Stack, b: Activations, x: Floats, first: int, stride: int, matrix: int, column: int, out: Floats,
    to: int, step: int, rows: int, inner: int, mode: int,
) -> None:  # fmt: skip
    """The product of rows of x, from `first`, and the panel of a matrix that starts at `column` -> out[to:].

    The rows have been quantized by `quantize_rows`.
    """
    if stack.quantized.size:
        width = (inner + LANES - 1) // LANES * LANES
        panel = matrix + column * width + column // TILE_COLUMNS * PANEL_EXTRA
        multiply_panel_int8(
            b.quantized, width, b.row_scales, b.row_zeros, first, stack.quantized, panel, out, to, step, rows, mode
        )
    else:
        multiply_panel_fp32(
            x, first * stride, stride, stack.weights, matrix + column * inner, out, to, step, rows, inner, mode
        )


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
        multiply_panel(stack, b, x, ZERO, stride, matrix, column, out, to + column, step, rows, inner, mode)
