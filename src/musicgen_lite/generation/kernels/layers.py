"""Kernels of the layers of a model: embeddings, matrix products, norms, attention and MLP."""

import math
from typing import Any

import numpy as np

from musicgen_lite.generation.kernels.arithmetic import exp, gelu, prefetch, widen
from musicgen_lite.generation.kernels.compiled import inline_kernel, kernel


@inline_kernel
def matmul(x: Any, weight: Any, scale: Any, out: Any) -> None:
    """out `[R, N]` = x `[R, K]` times the transpose of weight `[N, K]`, each output times its scale `[N]`.

    Tiles of two rows and four outputs; over the edge, the last row or output is computed again.
    """
    rows, depth = x.shape
    last = len(weight) - 1
    for n0 in range(0, len(weight), 4):
        n1, n2, n3 = min(n0 + 1, last), min(n0 + 2, last), min(n0 + 3, last)
        if weight.itemsize < 4:  # short rows end before the hardware prefetcher detects the stream
            for n in range(min(n0 + 8, last), min(n0 + 12, last)):
                for k in range(0, depth, 64 // weight.itemsize):
                    prefetch(weight, n, k)
        for r in range(0, rows, 2):
            s = min(r + 1, rows - 1)
            r0 = r1 = r2 = r3 = s0 = s1 = s2 = s3 = np.float32(0)
            for k in range(depth):
                w0, w1, w2, w3 = (
                    widen(weight[n0, k]),
                    widen(weight[n1, k]),
                    widen(weight[n2, k]),
                    widen(weight[n3, k]),
                )
                xr, xs = x[r, k], x[s, k]
                r0 += w0 * xr
                r1 += w1 * xr
                r2 += w2 * xr
                r3 += w3 * xr
                s0 += w0 * xs
                s1 += w1 * xs
                s2 += w2 * xs
                s3 += w3 * xs
            out[r, n0], out[r, n1], out[r, n2], out[r, n3] = (
                r0 * scale[n0],
                r1 * scale[n1],
                r2 * scale[n2],
                r3 * scale[n3],
            )
            out[s, n0], out[s, n1], out[s, n2], out[s, n3] = (
                s0 * scale[n0],
                s1 * scale[n1],
                s2 * scale[n2],
                s3 * scale[n3],
            )


@inline_kernel
def layer_norm(x: Any, weight: Any, bias: Any) -> Any:
    """LayerNorm of x `[R, d]`, epsilon 1e-5."""
    rows, dim = x.shape
    out = np.empty_like(x)
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
    return out


@inline_kernel
def _attend(q: Any, keys: Any, values: Any, bias: Any, length: int, out: Any) -> None:
    """One query of every row and head, q and out `[R, H * d_head]`, over the first `length` positions of the cache.

    keys: `[R, H, d_head, capacity]`; values: `[R, H, capacity, d_head]`; bias: `[R, >= length]`, added to the scores: 0, or
    -inf where hidden.
    """
    rows, heads, dim, _ = keys.shape
    scale = np.float32(1 / math.sqrt(dim))
    weights = np.empty(length, np.float32)
    for r in range(rows):
        for h in range(heads):
            weights[:] = bias[r, :length]
            for i in range(dim):
                scaled = q[r, h * dim + i] * scale
                for t in range(length):
                    weights[t] += scaled * keys[r, h, i, t]
            highest = np.float32(-np.inf)
            for t in range(length):
                highest = max(highest, weights[t])
            total = np.float32(0)
            for t in range(length):
                weights[t] = exp(weights[t] - highest)
                total += weights[t]
            mixed = out[r, h * dim : (h + 1) * dim]
            mixed[:] = 0
            for t in range(length):
                share = weights[t] / total
                for i in range(dim):
                    mixed[i] += share * values[r, h, t, i]


@inline_kernel
def _rotate(projected: Any, head: int, turns: Any) -> None:
    """Turn queries and keys in place, the first two thirds of projected `[R, 3 * d]`; see `transformer.rotate`.

    turns: `[d_head / 2, 2]`, cosine and sine for each pair of neighbours.
    """
    for r in range(len(projected)):
        for start in range(0, projected.shape[1] // 3 * 2, head):
            for i in range(len(turns)):
                cos, sin = turns[i, 0], turns[i, 1]
                a, b = projected[r, start + 2 * i], projected[r, start + 2 * i + 1]
                projected[r, start + 2 * i] = a * cos - b * sin
                projected[r, start + 2 * i + 1] = a * sin + b * cos


@kernel
def self_attention(
    x: Any, norm: Any, qkv: Any, out: Any, keys: Any, values: Any, bias: Any, rotations: Any, at: int
) -> None:
    """Add self-attention of position `at` to the residual stream x `[R, d]`, and its key and value to the cache.

    norm: weight and bias; qkv, out: weight and scale; keys, values, bias: see `_attend`; rotations: `[capacity, d_head / 2, 2]`,
    see `_rotate`, or of length 0.
    """
    rows, dim = x.shape
    heads, head = keys.shape[1], keys.shape[2]
    projected = np.empty((rows, 3 * dim), np.float32)
    matmul(layer_norm(x, norm[0], norm[1]), qkv[0], qkv[1], projected)
    if len(rotations):
        _rotate(projected, head, rotations[at])
    for r in range(rows):
        for h in range(heads):
            for i in range(head):
                keys[r, h, i, at] = projected[r, dim + h * head + i]
                values[r, h, at, i] = projected[r, 2 * dim + h * head + i]
    mixed = np.empty((rows, dim), np.float32)
    _attend(projected[:, :dim], keys, values, bias, at + 1, mixed)
    _add(x, mixed, out)


@kernel
def cross_attention(x: Any, norm: Any, query: Any, out: Any, keys: Any, values: Any, bias: Any) -> None:
    """Add cross-attention over all M positions of the memory's keys and values to the residual stream; see `_attend`."""
    projected = np.empty_like(x)
    matmul(layer_norm(x, norm[0], norm[1]), query[0], query[1], projected)
    mixed = np.empty_like(x)
    _attend(projected, keys, values, bias, keys.shape[3], mixed)
    _add(x, mixed, out)


@kernel
def mlp(x: Any, norm: Any, up: Any, down: Any) -> None:
    """Add the GELU MLP to the residual stream x `[R, d]`."""
    hidden = np.empty((len(x), len(up[0])), np.float32)
    matmul(layer_norm(x, norm[0], norm[1]), up[0], up[1], hidden)
    for r in range(len(hidden)):
        for i in range(hidden.shape[1]):
            hidden[r, i] = gelu(hidden[r, i])
    _add(x, hidden, down)


@inline_kernel
def _add(x: Any, hidden: Any, linear: Any) -> None:
    """Add a linear layer's output for `hidden` to the residual stream."""
    product = np.empty_like(x)
    matmul(hidden, linear[0], linear[1], product)
    for r in range(len(x)):
        for i in range(x.shape[1]):
            x[r, i] += product[r, i]


@kernel
def embed(cells: Any, codebook_offsets: Any, table: Any, step_embeddings: Any) -> Any:
    """`[R, d]`: for each row of cells `[R, C]` the sum of its vectors in the table and of the step's embedding.

    codebook_offsets: `[C]`, where each cell's codebook starts in the table; step_embeddings: `[R, d]`, or `[1, d]` for all.
    """
    out = np.empty((len(cells), step_embeddings.shape[1]), np.float32)
    for r in range(len(cells)):
        out[r] = step_embeddings[min(r, len(step_embeddings) - 1)]
        for c in range(len(codebook_offsets)):
            out[r] += table[codebook_offsets[c] + cells[r, c]]
    return out
