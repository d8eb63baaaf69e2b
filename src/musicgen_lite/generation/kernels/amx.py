"""Matrix products by a processor with AMX, for weights of bfloat16 and of int8.

A tile register holds 16 rows of 64 bytes. One instruction multiplies 16 rows of inputs by the weights of 16 outputs, in
which neighbours in the depth lie together in 4 bytes, and adds to 16 x 16 sums.

bfloat16: 32 of the depth at once. Sums are float32, in an order that no other row or output changes. An input goes in as two
numbers, the nearest bfloat16 and the nearest one to what is left, whose sum is within 2 ** -17 of it.

int8: 64 of the depth at once. Sums are integers. Inputs go in as multiples of a step that is the largest one of their row over
127 x 2 ** 14, each multiple as three digits to base 2 ** 7: within 2 ** -21 of the largest input.
"""

import ctypes
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import torch
from llvmlite import ir
from numba import types
from numba.core import cgutils
from torch import Tensor
from torch.nn.functional import pad

from musicgen_lite.generation.kernels.compiled import features, inline_kernel, intrinsic
from musicgen_lite.generation.kernels.memory import FLOAT, I32, I64, narrowed, prefetch, widened

ROWS, DEPTH, OUTPUTS = 16, 32, 32  # inputs, and weights in two tiles
# Two tiles of bfloat16 lie together: weights for 32 outputs, or inputs and what was left of them.
NUMBERS = DEPTH * OUTPUTS
# Of int8: weights are one tile, and inputs three.
DEPTH_8, OUTPUTS_8, DIGITS = 64, 16, 3
DIGIT, HIGHEST = 7, np.float32(127 << 14)
INFINITE = 0x7F800000  # the bits of infinity
LEAST = np.float32(1e-30)  # a row without a larger input counts as zeros: the inverse of a step must be finite
SUMS = max(ROWS * OUTPUTS, DIGITS * ROWS * OUTPUTS_8)
TILE = 1024  # bytes
AHEAD = 64 * TILE  # bytes between the weights in use and those that are prefetched
BYTE = ir.IntType(8)
LINE = 64  # bytes in a row of a tile, and in a line of a cache
# Tiles: three for sums, three for inputs, two for weights. For each number of rows of the first six: the layout's number, 1;
# from byte 16 on each tile's bytes in a row, as 16 bits; from byte 48 on each tile's rows.
SUM, INPUT, WEIGHT = 0, 3, 6
CONFIGURATIONS = b"".join(
    bytes([1] + 15 * [0] + 8 * [LINE, 0] + 16 * [0] + 6 * [rows] + 2 * [ROWS] + 8 * [0]) for rows in range(1, ROWS + 1)
)
ARCH_PRCTL, REQUEST_PERMISSION, TILE_DATA = 158, 0x1023, 18


@cache
def available() -> bool:
    """Whether kernels are compiled for a processor with AMX, and the system lets this process use it, which it is asked here."""
    if not (sys.platform == "linux" and {"amx-tile", "amx-bf16", "amx-int8"} <= features()):
        return False
    return ctypes.CDLL(None).syscall(ARCH_PRCTL, REQUEST_PERMISSION, TILE_DATA) == 0


def blocks(depth: int) -> int:
    """How many times `DEPTH` covers a depth."""
    return -(-depth // DEPTH)


def input_size(rows: int, depth: int) -> int:
    """How many float32 have room for inputs `[rows, depth]` as `split` or `digits` writes them."""
    tiles = -(-rows // ROWS) * max(2 * blocks(depth), DIGITS * -(-depth // DEPTH_8))
    return tiles * TILE // 4 + rows


def pack(weight: Tensor) -> Tensor:
    """Weights `[N, K]` in bfloat16 as `[panels, blocks, NUMBERS]`: each 32 outputs, each 32 of the depth; zeros over the edges."""
    outputs, depth = weight.shape
    pairs = pad(weight, (0, -depth % DEPTH, 0, -outputs % OUTPUTS)).view(torch.int32)
    tiles = pairs.view(-1, 2, 16, blocks(depth), 16).permute(0, 3, 1, 4, 2)  # panels, blocks, tiles, pairs, outputs
    return tiles.reshape(-1, blocks(depth), NUMBERS // 2).view(torch.bfloat16)


def pack_int8(weight: Tensor) -> Tensor:
    """Weights `[N, K]` in int8 as `[panels, blocks, 16, 64]`: each 16 outputs, each 64 of the depth; zeros over the edges."""
    outputs, depth = weight.shape
    fours = pad(weight, (0, -depth % DEPTH_8, 0, -outputs % OUTPUTS_8)).view(torch.int32)
    tiles = fours.view(-1, 16, -(-depth // DEPTH_8), 16).permute(0, 2, 3, 1)  # panels, blocks, fours, outputs
    return tiles.contiguous().view(torch.int8)


def _call(builder: Any, name: str, *given: Any) -> None:
    """One of the processor's instructions; tiles are given by their numbers."""
    kind = ir.FunctionType(ir.VoidType(), [one.type for one in given])
    builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.x86.{name}"), given)


@intrinsic
def begin(typingctx: Any, rows: Any) -> Any:
    """Lay out this thread's tiles for at most so many rows of inputs, of 16: fewer take less time."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        first = context.insert_const_bytes(builder.module, CONFIGURATIONS, "amx")
        place = builder.mul(builder.sub(args[0], I64(1)), I64(len(CONFIGURATIONS) // ROWS))
        _call(builder, "ldtilecfg", builder.gep(first, [place]))
        return context.get_dummy_value()

    return types.void(types.int64), generate


@intrinsic
def end(typingctx: Any) -> Any:
    """Give up this thread's tiles, which the system then need not save."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _call(builder, "tilerelease")
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def multiply(typingctx: Any, inputs: Any, i: Any, weight: Any, n: Any, number: Any, sums: Any) -> Any:
    """sums `[ROWS, OUTPUTS]`: pairs of tiles i to i + number of the split inputs times such pairs n to n + number of the weights."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        out = _pointers(context, builder, signature, args)[2]
        for half in range(2):
            _call(builder, "tilezero", BYTE(SUM + half))
        with _walk(context, builder, signature, args, 2, 2) as (x, w):
            for half in range(2):
                _call(builder, "tileloadd64", BYTE(INPUT + half), builder.gep(x, [I64(half * TILE)]), I64(LINE))
                _call(builder, "tileloadd64", BYTE(WEIGHT + half), builder.gep(w, [I64(half * TILE)]), I64(LINE))
            for part in range(2):
                for half in range(2):
                    _call(builder, "tdpbf16ps", BYTE(SUM + half), BYTE(INPUT + part), BYTE(WEIGHT + half))
        for half in range(2):
            _call(builder, "tilestored64", BYTE(SUM + half), builder.gep(out, [I64(half * LINE)]), I64(2 * LINE))
        return context.get_dummy_value()

    return types.void(inputs, i, weight, n, number, sums), generate


@intrinsic
def multiply_int8(typingctx: Any, inputs: Any, i: Any, weight: Any, n: Any, number: Any, sums: Any) -> Any:
    """The same for digits in triples of tiles and weights in single ones; sums `[DIGITS, ROWS, OUTPUTS_8]` in the bits of int32."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        out = _pointers(context, builder, signature, args)[2]
        for digit in range(DIGITS):
            _call(builder, "tilezero", BYTE(SUM + digit))
        with _walk(context, builder, signature, args, DIGITS, 1) as (x, w):
            _call(builder, "tileloadd64", BYTE(WEIGHT), w, I64(LINE))
            for digit in range(DIGITS):
                _call(builder, "tileloadd64", BYTE(INPUT + digit), builder.gep(x, [I64(digit * TILE)]), I64(LINE))
                _call(builder, "tdpbssd", BYTE(SUM + digit), BYTE(INPUT + digit), BYTE(WEIGHT))
        for digit in range(DIGITS):
            _call(builder, "tilestored64", BYTE(SUM + digit), builder.gep(out, [I64(digit * TILE)]), I64(LINE))
        return context.get_dummy_value()

    return types.void(inputs, i, weight, n, number, sums), generate


def _pointers(context: Any, builder: Any, signature: Any, args: Any) -> list[Any]:
    """Where inputs, weights and sums begin."""
    arrays = (context.make_array(signature.args[at])(context, builder, args[at]) for at in (0, 2, 5))
    return [builder.bitcast(array.data, BYTE.as_pointer()) for array in arrays]


@contextmanager
def _walk(
    context: Any, builder: Any, signature: Any, args: Any, inputs: int, weights: int
) -> Iterator[tuple[Any, Any]]:
    """A loop over the depth: where the next `inputs` tiles of inputs and `weights` tiles of weights are. Later weights are prefetched."""
    xs, ws, _ = _pointers(context, builder, signature, args)
    with cgutils.for_range_slice(builder, I64(0), args[4], I64(1), intp=I64) as (k, _):
        x, w = (
            builder.gep(start, [builder.mul(builder.add(first, k), I64(tiles * TILE))])
            for start, first, tiles in ((xs, args[1], inputs), (ws, args[3], weights))
        )
        for line in range(0, weights * TILE, LINE):
            prefetch(builder, builder.gep(w, [I64(AHEAD + line)]))
        yield x, w


@intrinsic
def join(typingctx: Any, sums: Any, row: Any) -> Any:
    """Make a row of `multiply_int8`'s sums one number for each output, of all its digits and rounded once, at its first digits."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        narrow, wide, floats = (ir.VectorType(kind, OUTPUTS_8) for kind in (I32, I64, FLOAT))
        first = builder.gep(
            context.make_array(sums)(context, builder, args[0]).data, [builder.mul(args[1], I64(OUTPUTS_8))]
        )
        total: Any = ir.Constant(wide, [0] * OUTPUTS_8)
        for digit in range(DIGITS):
            place = builder.gep(first, [I64(digit * ROWS * OUTPUTS_8)])
            loaded = builder.load(builder.bitcast(place, narrow.as_pointer()))
            loaded.align = 4
            shifted = builder.shl(total, ir.Constant(wide, [DIGIT] * OUTPUTS_8))
            total = builder.add(shifted, builder.sext(loaded, wide))
        stored = builder.store(builder.sitofp(total, floats), builder.bitcast(first, floats.as_pointer()))
        stored.align = 4
        return context.get_dummy_value()

    return types.void(sums, row), generate


@inline_kernel
def split(x: Any, out: Any) -> None:
    """x `[R, K]` as bfloat16, and what is left of it, into out `[n, NUMBERS]`; rows over the edge stay as they are."""
    rows, depth = x.shape
    number = (depth + DEPTH - 1) // DEPTH
    for r in range(rows):
        for block in range(number):
            row, first = r // ROWS * number + block, r % ROWS * DEPTH
            for k in range(DEPTH):
                at = block * DEPTH + k
                value = x[r, at] if at < depth else np.float32(0)
                out[row, first + k] = narrowed(value, out)
                out[row, ROWS * DEPTH + first + k] = narrowed(value - widened(out[row, first + k]), out)


@intrinsic
def magnitude(typingctx: Any, value: Any) -> Any:
    """The bits of a float32 without its sign: they are in the order of absolute values, infinity and then NaN the last."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.and_(builder.bitcast(args[0], I32), I32(0x7FFFFFFF))

    return types.int32(types.float32), generate


@intrinsic
def of_bits(typingctx: Any, bits: Any) -> Any:
    """The float32 of these bits."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], FLOAT)

    return types.float32(types.int32), generate


def _digits(lanes: int) -> Callable[..., Any]:
    """The intrinsic for `lanes` numbers at once."""

    def write(typingctx: Any, x: Any, r: Any, k: Any, inverse: Any, out: Any, row: Any, place: Any) -> Any:
        """Numbers k on of row r of x `[R, K]` times `inverse`, to the nearest integers, as digits into a row of out, from a place on."""

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            floats, ints, bytes_ = (ir.VectorType(kind, lanes) for kind in (FLOAT, I32, BYTE))
            xs, outs = (context.make_array(signature.args[at])(context, builder, args[at]) for at in (0, 4))
            width = cgutils.unpack_tuple(builder, xs.shape)[1]
            source = builder.gep(xs.data, [builder.add(builder.mul(args[1], width), args[2])])
            loaded = builder.load(builder.bitcast(source, floats.as_pointer()))
            loaded.align = 4
            scale = ir.Constant(floats, ir.Undefined)
            for lane in range(lanes):
                scale = builder.insert_element(scale, args[3], I32(lane))
            nearest = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(floats, [floats]), f"llvm.rint.v{lanes}f32"
            )
            rest = builder.fptosi(builder.call(nearest, [builder.fmul(loaded, scale)]), ints)
            first = builder.add(builder.mul(args[5], I64(DIGITS * TILE)), args[6])
            for digit in range(DIGITS):
                bits = DIGIT * (DIGITS - 1 - digit)
                half, shift = (ir.Constant(ints, [number] * lanes) for number in (1 << bits >> 1, bits))
                value = builder.ashr(builder.add(rest, half), shift)
                rest = builder.sub(rest, builder.shl(value, shift))
                target = builder.gep(outs.data, [builder.add(first, I64(digit * TILE))])
                stored = builder.store(builder.trunc(value, bytes_), builder.bitcast(target, bytes_.as_pointer()))
                stored.align = 1
            return context.get_dummy_value()

        return types.void(x, r, k, inverse, out, row, place), generate

    return write


write_digits_of_16, write_digits_of_1 = intrinsic(_digits(16)), intrinsic(_digits(1))


@inline_kernel
def digits(x: Any, out: Any, steps: Any) -> None:
    """x `[R, K]` as digits, the highest first, into out `[n, DIGITS * TILE]`, and the step of each row into steps `[1, R]`.

    Rows over the edge stay as they are; the step of a row with a number that is not finite is NaN.
    """
    rows, depth = x.shape
    number = (depth + DEPTH_8 - 1) // DEPTH_8
    for r in range(rows):
        bits = np.int32(0)
        for k in range(depth):
            bits = max(bits, magnitude(x[r, k]))
        largest, finite = of_bits(bits), bits < INFINITE
        steps[0, r] = largest / HIGHEST if finite else np.float32(np.nan)
        inverse = HIGHEST / largest if finite and largest > LEAST else np.float32(0)
        for block in range(number):
            row, place, start = r // ROWS * number + block, r % ROWS * DEPTH_8, block * DEPTH_8
            width = min(DEPTH_8, depth - start)
            k = 0
            while k + 16 <= width:
                write_digits_of_16(x, r, start + k, inverse, out, row, place + k)
                k += 16
            while k < width:
                write_digits_of_1(x, r, start + k, inverse, out, row, place + k)
                k += 1
            while k < DEPTH_8:
                for digit in range(DIGITS):
                    out[row, digit * TILE + place + k] = 0
                k += 1
