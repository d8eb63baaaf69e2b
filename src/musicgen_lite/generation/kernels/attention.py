"""Attention of one new position: its key and value go into the caches, and its query over all that they hold.

All arrays are those of one head of one row: query, key and value are `[1, d_head]` and float32, the caches are keys
`[d_head, capacity]` and values `[capacity, d_head]`, in float32 or rounded to the nearest bfloat16. Sums are float32.
"""

import math
from typing import Any

import numpy as np

from musicgen_lite.generation.kernels.arithmetic import exp
from musicgen_lite.generation.kernels.compiled import inline_kernel
from musicgen_lite.generation.kernels.memory import narrowed, widened

ZERO, ONE, HIDDEN = np.float32(0), np.float32(1), np.float32(-np.inf)


@inline_kernel
def rotate(vector: Any, turns: Any, at: int) -> None:
    """Turn a query or key in place; turns: `[L, d_head]`, cosine and sine for each pair of neighbours."""
    for i in range(0, vector.shape[1], 2):
        cos, sin = turns[at, i], turns[at, i + 1]
        a, b = vector[0, i], vector[0, i + 1]
        vector[0, i] = a * cos - b * sin
        vector[0, i + 1] = a * sin + b * cos


@inline_kernel
def append(key: Any, value: Any, keys: Any, values: Any, at: int) -> None:
    """Put a key and a value into the caches at a position."""
    for i in range(len(keys)):
        keys[i, at] = narrowed(key[0, i], keys)
        values[at, i] = narrowed(value[0, i], values)


@inline_kernel
def attend(query: Any, keys: Any, values: Any, length: int, bias: Any, weights: Any, out: Any) -> None:
    """The query over the first `length` positions, into out `[1, d_head]`.

    bias: `[1, capacity]`, added to the scores: 0, or -inf where hidden; weights: room for `length` numbers.
    """
    head = len(keys)
    scale = np.float32(1 / math.sqrt(head))
    for t in range(length):
        weights[t] = bias[0, t]
    for i in range(head):
        scaled = query[0, i] * scale
        for t in range(length):
            weights[t] += scaled * widened(keys[i, t])
    highest = HIDDEN
    for t in range(length):
        highest = max(highest, weights[t])
    total = ZERO
    for t in range(length):
        weights[t] = exp(weights[t] - highest)
        total += weights[t]
    for i in range(head):
        out[0, i] = ZERO
    for t in range(length):
        share = weights[t] / total
        for i in range(head):
            out[0, i] += share * widened(values[t, i])
