"""Emits vector operations in LLVM's intermediate representation.

numba vectorizes loops by LLVM's heuristics, which do not recognize a matrix product. An operation
states the vectors itself; numba inlines it into the functions that call it.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba.core import cgutils as untyped_cgutils
from numba.core import config as untyped_config
from numba.core import types
from numba.extending import intrinsic

cgutils: Any = untyped_cgutils
config: Any = untyped_config


def _vector_shape() -> tuple[int, int]:
    """Lanes of a vector, and vectors of a tile's row, such that a tile and its operands fit into the registers."""
    features = llvm.get_host_cpu_features() if not config.CPU_NAME else {}
    if features.get("avx512f"):
        return 16, 4
    if features.get("avx2"):
        return 8, 2
    return 4, 4


LANES, TILE_VECTORS = _vector_shape()
HAS_VNNI = LANES == 16 and bool(llvm.get_host_cpu_features().get("avx512vnni"))
"""Whether the processor sums four products of bytes at once."""
FLOAT, INT32, INT64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
VECTOR, INTS = ir.VectorType(FLOAT, LANES), ir.VectorType(INT32, LANES)
LOG2_E = 1.0 / math.log(2.0)
LN2_HIGH, LN2_LOW = 0.693359375, -2.12194440e-4
EXP_COEFFICIENTS = (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 0.5)
"""exp(r) = 1 + r + r² p(r) for |r| <= ln 2 / 2, relative error 2e-7 (Cephes, `expf`)."""


class Emitter:
    """Emits vector operations at the position of a builder."""

    def __init__(self, context: Any, builder: Any, signature: Any, arguments: Any) -> None:
        self.context, self.builder = context, builder
        self.signature, self.arguments = signature, arguments

    def pointer(self, argument: int, *offsets: Any) -> Any:
        """Address of an element of an array argument."""
        make = self.context.make_array(self.signature.args[argument])
        address = make(self.context, self.builder, self.arguments[argument]).data
        return self.at(address, *offsets)

    def at(self, address: Any, *offsets: Any) -> Any:
        for offset in offsets:
            address = self.builder.gep(address, [INT64(offset) if isinstance(offset, int) else offset])
        return address

    def load(self, address: Any) -> Any:
        return self.builder.load(self.builder.bitcast(address, VECTOR.as_pointer()), align=4)

    def store(self, vector: Any, address: Any) -> None:
        self.builder.store(vector, self.builder.bitcast(address, VECTOR.as_pointer()), align=4)

    def constant(self, value: float) -> Any:
        return ir.Constant(VECTOR, [value] * LANES)

    def broadcast(self, scalar: Any) -> Any:
        undefined = ir.Constant(ir.VectorType(scalar.type, LANES), ir.Undefined)
        first = self.builder.insert_element(undefined, scalar, INT32(0))
        return self.builder.shuffle_vector(first, undefined, ir.Constant(INTS, [0] * LANES))

    def call(self, name: str, *vectors: Any) -> Any:
        """LLVM's intrinsic function of this name, with vectors as arguments and result."""
        function = ir.FunctionType(VECTOR, [VECTOR] * len(vectors))
        target = cgutils.get_or_insert_function(self.builder.module, function, f"llvm.{name}.v{LANES}f32")
        return self.builder.call(target, vectors)

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        return self.call("fma", a, b, c)

    def maximum(self, a: Any, b: Any) -> Any:
        """The larger of two; b if one of them is NaN."""
        return self.builder.select(self.builder.fcmp_ordered(">", a, b), a, b)

    def variable(self, value: Any) -> Any:
        return cgutils.alloca_once_value(self.builder, value)

    def loop(self, count: Any) -> Any:
        """A context manager that emits a loop over 0 to count - 1, `loop.index`."""
        return cgutils.for_range(self.builder, count, intp=INT64)

    def loop_vectors(self, size: Any) -> Any:
        """A loop over the vectors of `size` elements; multiply its index by `LANES`."""
        return self.loop(self.builder.udiv(size, INT64(LANES)))

    def reduce(self, vector: Any, combine: Callable[[Any, Any], Any]) -> Any:
        """Combine the lanes of a vector in a fixed order, as halves of halves."""
        width = LANES
        while width > 1:
            width //= 2
            halves = (
                self.builder.shuffle_vector(
                    vector,
                    ir.Constant(vector.type, ir.Undefined),
                    ir.Constant(ir.VectorType(INT32, width), list(range(start, start + width))),
                )
                for start in (0, width)
            )
            vector = combine(*halves)
        return self.builder.extract_element(vector, INT32(0))

    def sum(self, vector: Any) -> Any:
        return self.reduce(vector, self.builder.fadd)

    def exp(self, x: Any) -> Any:
        """exp of a vector; 0 below -87, and at most exp(88)."""
        b = self.builder
        clamped = self.maximum(x, self.constant(-88.0))
        clamped = b.select(b.fcmp_ordered("<", clamped, self.constant(88.0)), clamped, self.constant(88.0))
        power = self.call("rint", b.fmul(clamped, self.constant(LOG2_E)))
        r = self.fma(power, self.constant(-LN2_HIGH), clamped)
        r = self.fma(power, self.constant(-LN2_LOW), r)
        p = self.constant(EXP_COEFFICIENTS[0])
        for coefficient in EXP_COEFFICIENTS[1:]:
            p = self.fma(p, r, self.constant(coefficient))
        value = b.fadd(self.fma(b.fmul(r, r), p, r), self.constant(1.0))
        bits = b.add(b.fptosi(power, INTS), ir.Constant(INTS, [127] * LANES))
        bits = b.shl(bits, ir.Constant(INTS, [23] * LANES))
        value = b.fmul(value, b.bitcast(bits, VECTOR))
        return b.select(b.fcmp_unordered("<", x, self.constant(-87.0)), self.constant(0.0), value)


def operation(argument_types: str, result: Any = types.void) -> Callable[[Callable[..., Any]], Any]:
    """Decorator: an operation for compiled functions, from a function that emits it and returns its result.

    `argument_types`: a letter for each argument: `a` array, `i` integer, `f` float32.
    """
    casts = {"i": types.int64, "f": types.float32}

    def decorate(emit: Callable[..., Any]) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            value = emit(Emitter(context, builder, signature, arguments), *arguments)
            return context.get_dummy_value() if value is None else value

        def typed(_context: Any, *arguments: Any) -> Any:
            pairs = zip(argument_types, arguments, strict=True)
            return result(*(casts.get(letter, argument) for letter, argument in pairs)), generate

        typed.__signature__ = inspect.signature(emit)  # type: ignore[attr-defined]  # numba reads it
        return intrinsic(typed)

    return decorate
