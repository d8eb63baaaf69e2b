"""A decoding step through all layers of a model, as a list of operations that a team of threads works through together.

Each operation is a row of numbers: what it does, its sizes, and the addresses of what it reads and writes. So one kernel
serves every model, and a step is one call. Threads divide the outputs of a product and the heads of an attention among
themselves, never a sum: the bits of a result do not depend on their number.
"""

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, types

from musicgen_lite.generation.kernels.arithmetic import exp, gelu
from musicgen_lite.generation.kernels.compiled import inline_kernel, intrinsic, kernel
from musicgen_lite.generation.kernels.team import wait
from musicgen_lite.generation.kernels.tiles import OUTPUTS, tile_of_1, tile_of_2, tile_of_4

LINEAR, ATTEND = 0, 1  # what an operation does
STORE, GELU, ADD = 0, 1, 2  # what becomes of a product
# An operation's numbers: what it does, then for a product
KIND, SOURCE, NORM, NORM_BIAS, WEIGHT, SCALE, DEPTH, WIDTH, TARGET, THEN = range(10)
# or for an attention, of which ROTATIONS is 0 where nothing is rotated, and OWN is 0 for that over a memory.
_, QUERY, KEYS, VALUES, BIAS, MIXED, LENGTH, HEADS, ROTATIONS, OWN = range(10)
FIELDS = 10
AHEAD = 8 * OUTPUTS  # rows of weights between those in use and those that are prefetched


@intrinsic
def _pointer(typingctx: Any, address: Any) -> Any:
    """An address as a pointer that `carray` takes."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], ir.IntType(8).as_pointer())

    return types.voidptr(types.int64), generate


@inline_kernel
def _floats(address: int, rows: int, columns: int) -> Any:
    return carray(_pointer(address), (rows, columns), np.float32)


@inline_kernel
def product(x: Any, weight: Any, scale: Any, out: Any, then: int, start: int, stop: int) -> None:
    """Outputs `start` to `stop` of x `[R, K]` times the transpose of weight `[N, K]`, each times its scale.

    Into out `[R, N]`: stored, stored after a GELU, or added.
    """
    rows = len(x)
    sums = np.empty(4 * OUTPUTS, np.float32)
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
                    value = sums[i * OUTPUTS + j] * scale[n + j]
                    if then == ADD:
                        out[r + i, n + j] += value
                    elif then == GELU:
                        out[r + i, n + j] = gelu(value)
                    else:
                        out[r + i, n + j] = value
            r += height


@inline_kernel
def normalise(x: Any, weight: Any, bias: Any, out: Any) -> None:
    """LayerNorm of x `[R, d]` into out, epsilon 1e-5."""
    rows, dim = x.shape
    for r in range(rows):
        total = np.float32(0)
        for i in range(dim):
            total += x[r, i]
        mean = total / np.float32(dim)
        squares = np.float32(0)
        for i in range(dim):
            squares += (x[r, i] - mean) * (x[r, i] - mean)
        factor = np.float32(1) / np.float32(math.sqrt(squares / np.float32(dim) + np.float32(1e-5)))
        for i in range(dim):
            out[r, i] = (x[r, i] - mean) * factor * weight[i] + bias[i]


@inline_kernel
def _attend(q: Any, keys: Any, values: Any, bias: Any, length: int, weights: Any, out: Any) -> None:
    """One query `[d_head]` over the first `length` of keys `[d_head, capacity]` and values `[capacity, d_head]`, into out `[d_head]`.

    bias: `[capacity]`, added to the scores: 0, or -inf where hidden.
    """
    dim = len(q)
    scale = np.float32(1 / math.sqrt(dim))
    weights[:length] = bias[:length]
    for i in range(dim):
        scaled = q[i] * scale
        for t in range(length):
            weights[t] += scaled * keys[i, t]
    highest = np.float32(-np.inf)
    for t in range(length):
        highest = max(highest, weights[t])
    total = np.float32(0)
    for t in range(length):
        weights[t] = exp(weights[t] - highest)
        total += weights[t]
    out[:] = 0
    for t in range(length):
        share = weights[t] / total
        for i in range(dim):
            out[i] += share * values[t, i]


@inline_kernel
def _rotate(vector: Any, turns: Any) -> None:
    """Turn a query or key `[d_head]` in place; turns: `[d_head / 2, 2]`, cosine and sine for each pair of neighbours."""
    for i in range(len(turns)):
        cos, sin = turns[i, 0], turns[i, 1]
        a, b = vector[2 * i], vector[2 * i + 1]
        vector[2 * i] = a * cos - b * sin
        vector[2 * i + 1] = a * sin + b * cos


@kernel
def run(
    thread: int,
    threads: int,
    barrier: Any,
    operations: Any,
    rows: int,
    dim: int,
    at: int,
    like: Any,
    scratch: Any,
) -> None:
    """Work through operations `[n, FIELDS]` for rows of width `dim` at position `at`; see `Team.run`.

    like: an array of the weights' dtype; scratch: `[threads, >= R * K and >= positions]`.
    """
    own = scratch[thread]
    for number in range(len(operations)):
        operation = operations[number]
        if operation[KIND] == LINEAR:
            depth, width = operation[DEPTH], operation[WIDTH]
            # Whole tiles for each thread, as equal as that allows.
            tiles = (width + OUTPUTS - 1) // OUTPUTS
            start, stop = tiles * thread // threads * OUTPUTS, min(tiles * (thread + 1) // threads * OUTPUTS, width)
            x = _floats(operation[SOURCE], rows, depth)
            if operation[NORM]:
                normalised = own[: rows * depth].reshape(rows, depth)
                gain, bias = _floats(operation[NORM], 1, depth)[0], _floats(operation[NORM_BIAS], 1, depth)[0]
                normalise(x, gain, bias, normalised)
                x = normalised
            weight = carray(_pointer(operation[WEIGHT]), (width, depth), like.dtype)
            scale, out = _floats(operation[SCALE], 1, width)[0], _floats(operation[TARGET], rows, width)
            product(x, weight, scale, out, operation[THEN], start, stop)
        else:
            capacity, heads = operation[LENGTH], operation[HEADS]
            head = dim // heads
            length = at + 1 if operation[OWN] else capacity
            stride = 3 * dim if operation[OWN] else dim
            projected, mixed = _floats(operation[QUERY], rows, stride), _floats(operation[MIXED], rows, dim)
            keys = carray(_pointer(operation[KEYS]), (rows * heads, head, capacity), np.float32)
            values = carray(_pointer(operation[VALUES]), (rows * heads, capacity, head), np.float32)
            bias = _floats(operation[BIAS], rows, capacity)
            units = rows * heads
            for unit in range(units * thread // threads, units * (thread + 1) // threads):
                r, h = unit // heads, unit % heads
                query = projected[r, h * head : (h + 1) * head]
                if operation[OWN]:
                    key = projected[r, dim + h * head : dim + (h + 1) * head]
                    if operation[ROTATIONS]:
                        turns = carray(_pointer(operation[ROTATIONS]), (capacity, head // 2, 2), np.float32)[at]
                        _rotate(query, turns)
                        _rotate(key, turns)
                    keys[unit, :, at] = key
                    values[unit, at] = projected[r, 2 * dim + h * head : 2 * dim + (h + 1) * head]
                _attend(query, keys[unit], values[unit], bias[r], length, own, mixed[r, h * head : (h + 1) * head])
        wait(barrier, threads)


@kernel
def embed(cells: Any, codebook_offsets: Any, table: Any, step_embeddings: Any, out: Any) -> None:
    """out `[R, d]`: for each row of cells `[R, C]` the sum of its vectors in the table and of the step's embedding.

    codebook_offsets: `[C]`, where each cell's codebook starts in the table; step_embeddings: `[R, d]`, or `[1, d]` for all.
    """
    for r in range(len(cells)):
        out[r] = step_embeddings[min(r, len(step_embeddings) - 1)]
        for c in range(len(codebook_offsets)):
            out[r] += table[codebook_offsets[c] + cells[r, c]]
