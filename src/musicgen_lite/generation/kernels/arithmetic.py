"""What kernels compute with: an exp and a GELU that can be vectorised."""

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from musicgen_lite.generation.kernels.compiled import inline_scalar, intrinsic

LOG2_E = 1.4426950408889634
LN_2 = 0.6931471805599453


@intrinsic
def _power_of_two(typingctx: Any, exponent: Any) -> Any:
    """2 ** exponent of an int32 from -126 to 127: the exponent bits of a float32."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        i32 = ir.IntType(32)
        bits = builder.shl(builder.add(args[0], ir.Constant(i32, 127)), ir.Constant(i32, 23))
        return builder.bitcast(bits, ir.FloatType())

    return types.float32(types.int32), generate


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
