"""Tiles of a matrix product: sums over a few rows of the input and four outputs, in an order that nothing else changes.

Written in LLVM's vectors of 16 numbers, so that the order of each sum is the same in every tile, whichever loop it stands
in: 16 partial sums over the depth, added in halves, then what is left of the depth. A processor with shorter vectors takes
several for one.

Weights of small formats are widened in the processor and all arithmetic is float32. Products of bfloat16 in the processor
(avx512_bf16) were tried: they round the inputs too, and were faster for many rows and slower for two, where reading the
weights is what takes the time (docs/results.md).
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from musicgen_lite.generation.kernels.compiled import intrinsic
from musicgen_lite.generation.kernels.memory import FLOAT, I32, I64, element, prefetch, widen

LANES = 16
OUTPUTS = 4
SUMS = 4 * OUTPUTS  # of the largest tile
VECTOR = ir.VectorType(FLOAT, LANES)


def _load(builder: Any, pointer: Any, index: Any, kind: ir.Type, lanes: int) -> Any:
    """`lanes` elements from an index on as a vector, or one element for 0."""
    place = builder.gep(pointer, [index])
    if not lanes:
        return builder.load(place)
    loaded = builder.load(builder.bitcast(place, ir.VectorType(kind, lanes).as_pointer()))
    loaded.align = getattr(kind, "width", 32) // 8
    return loaded


def _fma(builder: Any, a: Any, b: Any, c: Any) -> Any:
    suffix = f"v{LANES}f32" if isinstance(a.type, ir.VectorType) else "f32"
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(a.type, [a.type] * 3), f"llvm.fma.{suffix}"
    )
    return builder.call(function, [a, b, c])


def _total(builder: Any, vector: Any) -> Any:
    """The sum of a vector: halves are added until one number is left."""
    width = LANES
    while width > 1:
        width //= 2
        undefined = ir.Constant(vector.type, ir.Undefined)
        masks = ([first + lane for lane in range(width)] for first in (0, width))
        low, high = (
            builder.shuffle_vector(vector, undefined, ir.Constant(ir.VectorType(I32, width), mask)) for mask in masks
        )
        vector = builder.fadd(low, high)
    return builder.extract_element(vector, ir.Constant(I32, 0))


def _tile(rows: int) -> Callable[..., Any]:
    """The intrinsic for tiles of `rows` rows."""

    def tile(typingctx: Any, x: Any, r: Any, weight: Any, n: Any, ahead: Any, sums: Any) -> Any:
        """sums `[rows * 4]`: row r + i of x `[R, K]` times row n + j of weight `[N, K]`, at 4 i + j.

        Over the edge, the last row is computed again. The weights `ahead` rows after those of the tile are prefetched.
        """

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            xs, ws, out = (context.make_array(signature.args[i])(context, builder, args[i]) for i in (0, 2, 5))
            depth = cgutils.unpack_tuple(builder, xs.shape)[1]
            kind = element(weight.dtype)

            def places(array: Any, first: Any, count: int) -> list[Any]:
                last = builder.sub(cgutils.unpack_tuple(builder, array.shape)[0], I64(1))
                found = []
                for offset in range(count):
                    row = builder.add(first, I64(offset))
                    row = builder.select(builder.icmp_signed("<", row, last), row, last)
                    found.append(builder.gep(array.data, [builder.mul(row, depth)]))
                return found

            inputs, weights = places(xs, args[1], rows), places(ws, args[3], OUTPUTS)
            next_weights = places(ws, builder.add(args[3], args[4]), OUTPUTS)
            whole = builder.mul(builder.sdiv(depth, I64(LANES)), I64(LANES))
            zero = ir.Constant(VECTOR, [0.0] * LANES)
            vectors = [cgutils.alloca_once_value(builder, zero) for _ in range(rows * OUTPUTS)]

            def add(k: Any, lanes: int, totals: list[Any]) -> None:
                stored = [_load(builder, place, k, kind, lanes) for place in weights]
                columns = [widen(builder, weight.dtype, one) for one in stored]
                for i, place in enumerate(inputs):
                    value = _load(builder, place, k, FLOAT, lanes)
                    for j, column in enumerate(columns):
                        total = totals[i * OUTPUTS + j]
                        builder.store(_fma(builder, column, value, builder.load(total)), total)

            with cgutils.for_range_slice(builder, I64(0), whole, I64(LANES), intp=I64) as (k, _):
                for place in next_weights:
                    prefetch(builder, builder.gep(place, [k]))
                add(k, LANES, vectors)
            scalars = [cgutils.alloca_once_value(builder, _total(builder, builder.load(v))) for v in vectors]
            with cgutils.for_range_slice(builder, whole, depth, I64(1), intp=I64) as (k, _):
                add(k, 0, scalars)
            for number, scalar in enumerate(scalars):
                builder.store(builder.load(scalar), builder.gep(out.data, [I64(number)]))
            return context.get_dummy_value()

        return types.void(x, r, weight, n, ahead, sums), generate

    return tile


tile_of_1 = intrinsic(_tile(1))
tile_of_2 = intrinsic(_tile(2))
tile_of_4 = intrinsic(_tile(4))
