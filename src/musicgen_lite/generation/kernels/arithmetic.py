"""What kernels compute with: weights of small formats as float32, and an exp and a GELU that can be vectorised."""

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from musicgen_lite.generation.kernels.compiled import inline_scalar, intrinsic

LOG2_E = 1.4426950408889634
LN_2 = 0.6931471805599453


@intrinsic
def widen(typingctx: Any, value: Any) -> Any:
    """A stored weight as float32: bfloat16 are the upper half of a float32's bits."""
    if value not in (types.float32, types.uint16, types.int8):
        return None

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if value == types.float32:
            return args[0]
        if value == types.int8:
            return builder.sitofp(args[0], ir.FloatType())
        bits = builder.shl(builder.zext(args[0], ir.IntType(32)), ir.Constant(ir.IntType(32), 16))
        return builder.bitcast(bits, ir.FloatType())

    return types.float32(value), generate


@intrinsic
def _power_of_two(typingctx: Any, exponent: Any) -> Any:
    """2 ** exponent of an int32 from -126 to 127: the exponent bits of a float32."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        i32 = ir.IntType(32)
        bits = builder.shl(builder.add(args[0], ir.Constant(i32, 127)), ir.Constant(i32, 23))
        return builder.bitcast(bits, ir.FloatType())

    return types.float32(types.int32), generate


@intrinsic
def prefetch(typingctx: Any, array: Any, row: Any, column: Any) -> Any:
    """Prefetch the cache line of an element of a matrix."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        matrix = context.make_array(array)(context, builder, args[0])
        shape, strides = (cgutils.unpack_tuple(builder, sizes) for sizes in (matrix.shape, matrix.strides))
        address = cgutils.get_item_pointer2(
            context, builder, matrix.data, shape, strides, array.layout, args[1:], boundscheck=False
        )
        i32, pointer = ir.IntType(32), ir.IntType(8).as_pointer()
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.VoidType(), [pointer, i32, i32, i32]), "llvm.prefetch.p0"
        )
        # To read, into the second cache, data.
        builder.call(function, [builder.bitcast(address, pointer), i32(0), i32(2), i32(1)])
        return context.get_dummy_value()

    return types.void(array, row, column), generate


@inline_scalar
def exp(x: Any) -> Any:
    """exp of a float32 up to 88, within 3e-7 of it, 0 below -60; unlike libm's it can be vectorised.

    x = n ln 2 + r with |r| at most ln 2 / 2, and the Taylor series of exp(r). What is below e-26 of the largest attention
    weight changes no float32 sum, and denormal numbers would take a hundred times as long.
    """
    bounded = max(x, np.float32(-60.0))
    n = np.floor(bounded * np.float32(LOG2_E) + np.float32(0.5))
    r = np.float32(bounded - n * np.float32(0.693359375)) - n * np.float32(LN_2 - 0.693359375)
    series = np.float32(1 / 720)
    series = series * r + np.float32(1 / 120)
    series = series * r + np.float32(1 / 24)
    series = series * r + np.float32(1 / 6)
    series = series * r + np.float32(0.5)
    series = series * r + np.float32(1)
    series = series * r + np.float32(1)
    return series * _power_of_two(np.int32(n)) if x >= np.float32(-60.0) else np.float32(0)


@inline_scalar
def gelu(x: Any) -> Any:
    """x times the normal distribution function; erf by Abramowitz and Stegun 7.1.26, within 1.5e-7."""
    z = np.float32(abs(x) * np.float32(1 / math.sqrt(2)))
    t = np.float32(1) / (np.float32(1) + np.float32(0.3275911) * z)
    poly = np.float32(1.061405429)
    poly = poly * t - np.float32(1.453152027)
    poly = poly * t + np.float32(1.421413741)
    poly = poly * t - np.float32(0.284496736)
    poly = poly * t + np.float32(0.254829592)
    tail = np.float32(0.5) * poly * t * exp(-z * z)
    return x * (np.float32(1) - tail) if x >= 0 else x * tail
