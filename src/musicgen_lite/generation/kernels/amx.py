"""Matrix products by a processor with AMX, for weights of bfloat16.

A tile register holds 16 rows of 64 bytes. One instruction multiplies 16 rows of 32 inputs by the weights of 16 outputs, in
which neighbours in the depth lie together in pairs, and adds to 16 x 16 sums. Factors are bfloat16 and sums float32, in an
order that no other row or output changes. An input goes in as two numbers, the nearest bfloat16 and the nearest one to what
is left, whose sum is within 2 ** -17 of it.
"""

import ctypes
import sys
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
from musicgen_lite.generation.kernels.memory import I64, narrowed, prefetch, widened

ROWS, DEPTH, OUTPUTS = 16, 32, 32  # inputs, and weights in two tiles
# Two tiles of bfloat16 lie together: weights for 32 outputs, or inputs and what was left of them.
NUMBERS = DEPTH * OUTPUTS
SUMS = ROWS * OUTPUTS
AHEAD = 32  # pairs of tiles between the weights in use and those that are prefetched: 64 KB
LINE = 64  # bytes in a row of a tile, and in a line of a cache
# The layout's number is 1; from byte 16 on each tile's bytes in a row, as 16 bits; from byte 48 on each tile's rows.
CONFIGURATION = bytes([1] + 15 * [0] + 8 * [LINE, 0] + 16 * [0] + 8 * [ROWS] + 8 * [0])
ARCH_PRCTL, REQUEST_PERMISSION, TILE_DATA = 158, 0x1023, 18


@cache
def available() -> bool:
    """Whether kernels are compiled for a processor with AMX, and the system lets this process use it, which it is asked here."""
    if not (sys.platform == "linux" and {"amx-tile", "amx-bf16"} <= features()):
        return False
    return ctypes.CDLL(None).syscall(ARCH_PRCTL, REQUEST_PERMISSION, TILE_DATA) == 0


def blocks(depth: int) -> int:
    """How many times `DEPTH` covers a depth."""
    return -(-depth // DEPTH)


def split_size(rows: int, depth: int) -> int:
    """How many float32 have room for inputs `[rows, depth]` that are split."""
    return -(-rows // ROWS) * blocks(depth) * NUMBERS // 2


def pack(weight: Tensor) -> Tensor:
    """Weights `[N, K]` in bfloat16 as `[panels, blocks, NUMBERS]`: each 32 outputs, each 32 of the depth; zeros over the edges."""
    outputs, depth = weight.shape
    pairs = pad(weight, (0, -depth % DEPTH, 0, -outputs % OUTPUTS)).view(torch.int32)
    tiles = pairs.view(-1, 2, 16, blocks(depth), 16).permute(0, 3, 1, 4, 2)  # panels, blocks, tiles, pairs, outputs
    return tiles.reshape(-1, blocks(depth), NUMBERS // 2).view(torch.bfloat16)


def _call(builder: Any, name: str, *given: Any) -> None:
    """One of the processor's instructions; tiles are given by their numbers: 0 and 1 sums, 2 and 3 inputs, 4 and 5 weights."""
    kind = ir.FunctionType(ir.VoidType(), [one.type for one in given])
    builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.x86.{name}"), given)


@intrinsic
def begin(typingctx: Any) -> Any:
    """Lay out this thread's tiles."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _call(builder, "ldtilecfg", context.insert_const_bytes(builder.module, CONFIGURATION, "amx"))
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def end(typingctx: Any) -> Any:
    """Give up this thread's tiles, which the system then need not save."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _call(builder, "tilerelease")
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def multiply(typingctx: Any, inputs: Any, i: Any, weight: Any, n: Any, number: Any, sums: Any) -> Any:
    """sums `[ROWS * OUTPUTS]`: rows i to i + number of the split inputs times rows n to n + number of the weights."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        byte, tile = ir.IntType(8), 16 * LINE
        xs, ws, out = (
            builder.bitcast(context.make_array(signature.args[at])(context, builder, args[at]).data, byte.as_pointer())
            for at in (0, 2, 5)
        )
        for half in range(2):
            _call(builder, "tilezero", byte(half))
        with cgutils.for_range_slice(builder, I64(0), args[4], I64(1), intp=I64) as (k, _):
            x, w = (
                builder.gep(start, [builder.mul(builder.add(first, k), I64(2 * tile))])
                for start, first in ((xs, args[1]), (ws, args[3]))
            )
            for line in range(0, 2 * tile, LINE):
                prefetch(builder, builder.gep(w, [I64(2 * tile * AHEAD + line)]))
            for half in range(2):
                _call(builder, "tileloadd64", byte(2 + half), builder.gep(x, [I64(half * tile)]), I64(LINE))
                _call(builder, "tileloadd64", byte(4 + half), builder.gep(w, [I64(half * tile)]), I64(LINE))
            for part in range(2):
                for half in range(2):
                    _call(builder, "tdpbf16ps", byte(half), byte(2 + part), byte(4 + half))
        for half in range(2):
            _call(builder, "tilestored64", byte(half), builder.gep(out, [I64(half * LINE)]), I64(2 * LINE))
        return context.get_dummy_value()

    return types.void(inputs, i, weight, n, number, sums), generate


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
