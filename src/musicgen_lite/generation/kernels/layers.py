"""A decoding step through all layers of a model, as a list of operations that a team of threads works through together.

Each operation is a row of numbers: what it does, its sizes, and the addresses of what it reads and writes. So one kernel
serves every model, and a step is one call. Threads divide the outputs of a product and the heads of an attention among
themselves, never a sum: the bits of a result do not depend on their number.

Kernels are written as loops over single numbers, since numba takes seconds to compile slices, reshapes and sums of arrays.
"""

import math
from typing import Any

import numpy as np

from musicgen_lite.generation.kernels import amx
from musicgen_lite.generation.kernels.arithmetic import gelu
from musicgen_lite.generation.kernels.attention import ONE, ZERO, append, attend, rotate
from musicgen_lite.generation.kernels.compiled import inline_kernel, kernel
from musicgen_lite.generation.kernels.memory import address_of, array_at
from musicgen_lite.generation.kernels.team import wait
from musicgen_lite.generation.kernels.tiles import OUTPUTS, tile_of_1, tile_of_2, tile_of_4

LINEAR, ATTEND = 0, 1  # what an operation does
STORE, GELU, ADD = 0, 1, 2  # what becomes of a product
# An operation's numbers: what it does, then for a product
KIND, SOURCE, NORM, NORM_BIAS, WEIGHT, SCALE, DEPTH, WIDTH, TARGET, THEN = range(10)
# or for an attention, of which ROTATIONS is 0 where nothing is rotated, and OWN is 0 for that over a memory.
_, QUERY, KEYS, VALUES, BIAS, MIXED, LENGTH, HEADS, ROTATIONS, OWN = range(10)
FIELDS = 10
SUMS = amx.SUMS  # of the largest tile
AHEAD = 8 * OUTPUTS  # rows of weights between those in use and those that are prefetched
LINE = 16  # float32 in a line of a cache
EPSILON = np.float32(1e-5)


@inline_kernel
def put(value: Any, out: Any, r: int, n: int, then: int) -> None:
    """Store a product, or its GELU, or add it."""
    if then == ADD:
        out[r, n] += value
    elif then == GELU:
        out[r, n] = gelu(value)
    else:
        out[r, n] = value


@inline_kernel
def product(x: Any, weight: Any, scale: Any, out: Any, then: int, start: int, stop: int, sums: Any) -> None:
    """Outputs `start` to `stop` of x `[R, K]` times the transpose of weight `[N, K]`, each times its scale `[1, N]`.

    Into out `[R, N]`: stored, stored after a GELU, or added. sums: room for `SUMS` numbers.
    """
    rows = len(x)
    for n in range(start, stop, OUTPUTS):
        r = 0
        while r < rows:
            if rows - r > 2:
                tile_of_4(x, r, weight, n, AHEAD, sums)
                height = min(4, rows - r)
            elif rows - r == 2:
                tile_of_2(x, r, weight, n, AHEAD, sums)
                height = 2
            else:
                tile_of_1(x, r, weight, n, AHEAD, sums)
                height = 1
            for i in range(height):
                for j in range(min(OUTPUTS, stop - n)):
                    put(sums[i * OUTPUTS + j] * scale[0, n + j], out, r + i, n + j, then)
            r += height


@inline_kernel
def product_in_bfloat16(x: Any, weight: Any, out: Any, then: int, start: int, stop: int, split: Any, sums: Any) -> None:
    """The same by AMX, of weights without scales that `amx.pack` has packed; split: room for the split inputs."""
    rows, depth = x.shape
    blocks = (depth + amx.DEPTH - 1) // amx.DEPTH
    amx.begin(min(amx.ROWS, rows))
    amx.split(x, split)
    for n in range(start, stop, amx.OUTPUTS):
        for r in range(0, rows, amx.ROWS):
            amx.multiply(split, r // amx.ROWS * blocks, weight, n // amx.OUTPUTS * blocks, blocks, sums)
            for i in range(min(amx.ROWS, rows - r)):
                for j in range(min(amx.OUTPUTS, stop - n)):
                    put(sums[i * amx.OUTPUTS + j], out, r + i, n + j, then)
    amx.end()


@inline_kernel
def product_in_int8(
    x: Any, weight: Any, scale: Any, out: Any, then: int, start: int, stop: int, digits: Any, steps: Any, sums: Any
) -> None:
    """The same by AMX, of weights that `amx.pack_int8` has packed; digits, steps: room for the inputs."""
    rows, depth = x.shape
    blocks = (depth + amx.DEPTH_8 - 1) // amx.DEPTH_8
    amx.begin(min(amx.ROWS, rows))
    amx.digits(x, digits, steps)
    for n in range(start, stop, amx.OUTPUTS_8):
        for r in range(0, rows, amx.ROWS):
            amx.multiply_int8(digits, r // amx.ROWS * blocks, weight, n // amx.OUTPUTS_8 * blocks, blocks, sums)
            for i in range(min(amx.ROWS, rows - r)):
                amx.join(sums, i)
                for j in range(min(amx.OUTPUTS_8, stop - n)):
                    value = sums[i * amx.OUTPUTS_8 + j] * (steps[0, r + i] * scale[0, n + j])
                    put(value, out, r + i, n + j, then)
    amx.end()


@inline_kernel
def normalise(x: Any, weight: Any, bias: Any, out: Any) -> None:
    """LayerNorm of x `[R, d]` with weight and bias `[1, d]` into out, epsilon 1e-5."""
    rows, dim = x.shape
    width = np.float32(dim)
    for r in range(rows):
        total = ZERO
        for i in range(dim):
            total += x[r, i]
        mean = total / width
        squares = ZERO
        for i in range(dim):
            squares += (x[r, i] - mean) * (x[r, i] - mean)
        factor = ONE / np.float32(math.sqrt(squares / width + EPSILON))
        for i in range(dim):
            out[r, i] = (x[r, i] - mean) * factor * weight[0, i] + bias[0, i]


def room(rows: int, dim: int, deepest: int, positions: int) -> int:
    """How many float32 a thread needs for rows of width `dim`, products of that depth at most, and so many positions."""
    whole = -(-rows * dim // LINE) * LINE  # so that every thread's begin at a line of a cache
    return SUMS + max(-(-positions // LINE) * LINE, amx.input_size(rows, deepest) + whole)


@kernel
def run(
    thread: int,
    threads: int,
    barrier: Any,
    operations: Any,
    rows: int,
    dim: int,
    at: int,
    weights: Any,
    caches: Any,
    scratch: Any,
) -> None:
    """Work through operations `[n, FIELDS]` for rows of width `dim` at position `at`; see `Team.run`.

    weights, caches: arrays of their dtypes, weights of 3 dimensions where `amx.pack` has packed all of them, of 4 where
    `amx.pack_int8` has; scratch: `[threads, room]`, see `room`.
    """
    own = scratch[thread]
    normalised = array_at(address_of(own) + 4 * (len(own) - rows * dim), rows, dim, scratch)
    for number in range(len(operations)):
        operation = operations[number]
        if operation[KIND] == LINEAR:
            depth, width = operation[DEPTH], operation[WIDTH]
            # Whole tiles for each thread, as equal as that allows.
            size = amx.OUTPUTS if weights.ndim >= 3 else OUTPUTS  # known when it is compiled
            tiles = (width + size - 1) // size
            start, stop = tiles * thread // threads * size, min(tiles * (thread + 1) // threads * size, width)
            x = array_at(operation[SOURCE], rows, depth, scratch)
            if operation[NORM]:
                gain, bias = (
                    array_at(operation[NORM], 1, depth, scratch),
                    array_at(operation[NORM_BIAS], 1, depth, scratch),
                )
                normalise(x, gain, bias, normalised)
                x = normalised
            out, then = array_at(operation[TARGET], rows, width, scratch), operation[THEN]
            if weights.ndim == 3:
                packed = array_at(operation[WEIGHT], 0, amx.NUMBERS, weights)
                split = array_at(address_of(own) + 4 * SUMS, 0, amx.NUMBERS, weights)
                product_in_bfloat16(x, packed, out, then, start, stop, split, own)
            elif weights.ndim == 4:
                packed = array_at(operation[WEIGHT], 0, amx.TILE, weights)
                scale = array_at(operation[SCALE], 1, width, scratch)
                digits = array_at(address_of(own) + 4 * SUMS, 0, amx.DIGITS * amx.TILE, weights)
                steps = array_at(address_of(normalised) - 4 * rows, 1, rows, scratch)
                product_in_int8(x, packed, scale, out, then, start, stop, digits, steps, own)
            else:
                weight = array_at(operation[WEIGHT], width, depth, weights)
                product(x, weight, array_at(operation[SCALE], 1, width, scratch), out, then, start, stop, own)
        else:
            capacity, heads, is_own = operation[LENGTH], operation[HEADS], operation[OWN]
            head, units, stride = dim // heads, rows * heads, 3 * dim if is_own else dim
            cached = head * capacity * caches.itemsize  # bytes of a head's keys or values
            for unit in range(units * thread // threads, units * (thread + 1) // threads):
                r, first = unit // heads, unit % heads * head
                place = operation[QUERY] + 4 * (r * stride + first)
                query = array_at(place, 1, head, scratch)
                keys = array_at(operation[KEYS] + unit * cached, head, capacity, caches)
                values = array_at(operation[VALUES] + unit * cached, capacity, head, caches)
                if is_own:
                    key = array_at(place + 4 * dim, 1, head, scratch)
                    value = array_at(place + 8 * dim, 1, head, scratch)
                    if operation[ROTATIONS]:
                        turns = array_at(operation[ROTATIONS], capacity, head, scratch)
                        rotate(query, turns, at)
                        rotate(key, turns, at)
                    append(key, value, keys, values, at)
                bias = array_at(operation[BIAS] + 4 * r * capacity, 1, capacity, scratch)
                out = array_at(operation[MIXED] + 4 * (r * dim + first), 1, head, scratch)
                attend(query, keys, values, at + 1 if is_own else capacity, bias, own, out)
        threads = wait(barrier, threads)
        if thread >= threads:
            return


@kernel
def embed(cells: Any, codebook_offsets: Any, table: Any, step_embeddings: Any, out: Any) -> None:
    """out `[R, d]`: for each row of cells `[R, C]` the sum of its vectors in the table and of the step's embedding.

    codebook_offsets: `[C]`, where each cell's codebook starts in the table; step_embeddings: `[R, d]`, or `[1, d]` for all.
    """
    rows, dim = out.shape
    for r in range(rows):
        own = min(r, len(step_embeddings) - 1)
        for i in range(dim):
            out[r, i] = step_embeddings[own, i]
        for c in range(len(codebook_offsets)):
            row = codebook_offsets[c] + cells[r, c]
            for i in range(dim):
                out[r, i] += table[row, i]
