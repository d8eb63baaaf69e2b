"""Attention of one new position: its key and value go into the caches, and its query over all that they hold.

A unit is a head of a row. Keys are `[units * d_head, capacity]` and values `[units * capacity, d_head]`, in float32 or
rounded to the nearest bfloat16; queries, scores and sums are float32.
"""

import math
from typing import Any

import numpy as np

from musicgen_lite.generation.kernels.arithmetic import exp
from musicgen_lite.generation.kernels.compiled import inline_kernel
from musicgen_lite.generation.kernels.memory import narrowed, widened

ZERO, ONE, HIDDEN = np.float32(0), np.float32(1), np.float32(-np.inf)


@inline_kernel
def rotate(projected: Any, r: int, first: int, head: int, turns: Any, at: int) -> None:
    """Turn the query or key at `projected[r, first]` in place; turns: `[L, d_head]`, cosine and sine for each pair."""
    for i in range(0, head, 2):
        cos, sin = turns[at, i], turns[at, i + 1]
        a, b = projected[r, first + i], projected[r, first + i + 1]
        projected[r, first + i] = a * cos - b * sin
        projected[r, first + i + 1] = a * sin + b * cos


@inline_kernel
def append(projected: Any, r: int, first: int, keys: Any, values: Any, unit: int, at: int) -> None:
    """Put the key at `projected[r, dim + first]` and the value at `projected[r, 2 * dim + first]` into the caches."""
    dim, head, capacity = projected.shape[1] // 3, values.shape[1], keys.shape[1]
    for i in range(head):
        keys[unit * head + i, at] = narrowed(projected[r, dim + first + i], keys)
        values[unit * capacity + at, i] = narrowed(projected[r, 2 * dim + first + i], values)


@inline_kernel
def attend(
    projected: Any,
    r: int,
    first: int,
    keys: Any,
    values: Any,
    unit: int,
    length: int,
    bias: Any,
    weights: Any,
    mixed: Any,
) -> None:
    """The query at `projected[r, first]` over the first `length` positions of a unit, into `mixed[r, first]` and after.

    bias: `[R, capacity]`, added to the scores: 0, or -inf where hidden; weights: room for `length` numbers.
    """
    head, start = values.shape[1], unit * keys.shape[1]
    scale = np.float32(1 / math.sqrt(head))
    for t in range(length):
        weights[t] = bias[r, t]
    for i in range(head):
        scaled = projected[r, first + i] * scale
        for t in range(length):
            weights[t] += scaled * widened(keys[unit * head + i, t])
    highest = HIDDEN
    for t in range(length):
        highest = max(highest, weights[t])
    total = ZERO
    for t in range(length):
        weights[t] = exp(weights[t] - highest)
        total += weights[t]
    for i in range(head):
        mixed[r, first + i] = ZERO
    for t in range(length):
        share = weights[t] / total
        for i in range(head):
            mixed[r, first + i] += share * widened(values[start + t, i])
