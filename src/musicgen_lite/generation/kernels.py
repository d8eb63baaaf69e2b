"""Numba kernels of a decoding step on a CPU: matrix products with few rows, attention of one new position, norms.

A step is bound by reading the weights: each is read once, whatever the rows, and may be stored in half or a quarter of its
size: float32, bfloat16 (its bits in uint16) or int8 with a scale for each output. All arithmetic is float32. A row's result
has the same bits whatever the other rows are, because every row goes through the same instructions in the same order.
"""

import math
from collections.abc import Callable
from typing import Any, cast

import numpy as np
from llvmlite import ir
from numba import extending, njit, types
from numba.core import cgutils

from musicgen_lite.generation.kernel_cache import share_by_content

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
share_by_content(__file__)


def _compiled(**options: Any) -> Decorator:
    """A decorator that compiles a kernel once for a machine: numba caches it in NUMBA_CACHE_DIR or in the user's cache folder.

    If neither is writable it goes beside this file, and if that is not either, each process compiles it again.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        try:
            return cast(Callable[..., Any], njit(cache=True, **options)(function))
        except RuntimeError:  # numba finds no place for its cache
            return cast(Callable[..., Any], njit(**options)(function))

    return decorate


# Sums may be vectorised, and a product and a sum share one rounding. Infinite values stay allowed.
FAST = {"reassoc", "contract", "nsz"}
# numpy's error model: a check for division by zero would prevent vectorisation, and no divisor is 0.
kernel: Decorator = _compiled(nogil=True, error_model="numpy", fastmath=FAST)
# Parts of kernels are inlined. As calls they would be compiled twice, alone and within the caller, differently; which of the two
# ran, and so the last bits, would depend on whether the caller came from the cache.
inline_kernel: Decorator = _compiled(nogil=True, inline="always", error_model="numpy", fastmath=FAST)
inline_scalar: Decorator = _compiled(inline="always", error_model="numpy", fastmath={"contract"})
exact_kernel: Decorator = _compiled(nogil=True)
intrinsic = cast(Decorator, extending.intrinsic)
LOG2_E = 1.4426950408889634
LN_2 = 0.6931471805599453


@intrinsic
def _widen(typingctx: Any, value: Any) -> Any:
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
def _prefetch(typingctx: Any, array: Any, row: Any, column: Any) -> Any:
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
def _exp(x: Any) -> Any:
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
def _gelu(x: Any) -> Any:
    """x times the normal distribution function; erf by Abramowitz and Stegun 7.1.26, within 1.5e-7."""
    z = np.float32(abs(x) * np.float32(1 / math.sqrt(2)))
    t = np.float32(1) / (np.float32(1) + np.float32(0.3275911) * z)
    poly = np.float32(1.061405429)
    poly = poly * t - np.float32(1.453152027)
    poly = poly * t + np.float32(1.421413741)
    poly = poly * t - np.float32(0.284496736)
    poly = poly * t + np.float32(0.254829592)
    tail = np.float32(0.5) * poly * t * _exp(-z * z)
    return x * (np.float32(1) - tail) if x >= 0 else x * tail


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
                    _prefetch(weight, n, k)
        for r in range(0, rows, 2):
            s = min(r + 1, rows - 1)
            r0 = r1 = r2 = r3 = s0 = s1 = s2 = s3 = np.float32(0)
            for k in range(depth):
                w0, w1, w2, w3 = (
                    _widen(weight[n0, k]),
                    _widen(weight[n1, k]),
                    _widen(weight[n2, k]),
                    _widen(weight[n3, k]),
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
                weights[t] = _exp(weights[t] - highest)
                total += weights[t]
            mixed = out[r, h * dim : (h + 1) * dim]
            mixed[:] = 0
            for t in range(length):
                share = weights[t] / total
                for i in range(dim):
                    mixed[i] += share * values[r, h, t, i]


@kernel
def self_attention(x: Any, norm: Any, qkv: Any, out: Any, keys: Any, values: Any, bias: Any, at: int) -> None:
    """Add self-attention of position `at` to the residual stream x `[R, d]`, and its key and value to the cache.

    norm: weight and bias; qkv, out: weight and scale; keys, values, bias: see `_attend`.
    """
    rows, dim = x.shape
    heads, head = keys.shape[1], keys.shape[2]
    projected = np.empty((rows, 3 * dim), np.float32)
    matmul(layer_norm(x, norm[0], norm[1]), qkv[0], qkv[1], projected)
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
            hidden[r, i] = _gelu(hidden[r, i])
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
def embed(cells: Any, codebook_offsets: Any, table: Any, step_embedding: Any) -> Any:
    """`[R, d]`: for each row of cells `[R, C]` the sum of its vectors in the table and of the step's embedding `[d]`.

    codebook_offsets: `[C]`, where each cell's codebook starts in the table.
    """
    out = np.empty((len(cells), len(step_embedding)), np.float32)
    for r in range(len(cells)):
        out[r] = step_embedding
        for c in range(len(codebook_offsets)):
            out[r] += table[codebook_offsets[c] + cells[r, c]]
    return out


@inline_kernel
def _unit(x: Any, matrix: Any, out: Any) -> None:
    """out `[p]`: x `[d]` times matrix `[d, p]`, at length 1."""
    out[:] = 0
    for i in range(len(x)):
        for j in range(len(out)):
            out[j] += x[i] * matrix[i, j]
    length = max(np.float32(math.sqrt((out * out).sum())), np.float32(1e-12))
    for j in range(len(out)):
        out[j] /= length


@inline_kernel
def _softmax(x: Any) -> None:
    """x `[n]` as probabilities, in place."""
    highest = x.max()
    total = np.float32(0)
    for i in range(len(x)):
        x[i] = _exp(x[i] - highest)
        total += x[i]
    for i in range(len(x)):
        x[i] /= total


@kernel
def point(logits: Any, hidden: Any, head: Any, keys: Any, codes: Any, cells: Any, tiny: float) -> None:
    """Turn logits `[R, C, K]` into log-probabilities, mixed with what each cell points at; see `PointerHead.step`.

    hidden: `[R, d]`; head: query and key `[N_q, d, p]`, gate `[N_q, d]`, its bias and the temperature `[N_q]`; keys, codes:
    the cache, `[R, N_q, T, p]` and `[R, N_q, T]`; cells: `[n, 3]`, slot, codebook and frame of each cell of the step.
    """
    rows, _, size = logits.shape
    query, key, gates, gate_bias, temperature = head
    state = np.empty(query.shape[2], np.float32)
    pointed = np.empty(size, np.float32)
    for r in range(rows):
        for n in range(len(cells)):
            slot, q, frame = cells[n, 0], cells[n, 1], cells[n, 2]
            share = np.float32(0)
            pointed[:] = 0
            if frame > 0:
                _unit(hidden[r], query[q], state)
                weights = np.empty(frame, np.float32)
                for t in range(frame):
                    weights[t] = temperature[q] * (state * keys[r, q, t]).sum()
                _softmax(weights)
                for t in range(frame):
                    if codes[r, q, t] < size:
                        pointed[codes[r, q, t]] += weights[t]
                gate = gate_bias[q] + (gates[q] * hidden[r]).sum()
                share = np.float32(1) / (np.float32(1) + _exp(-gate))
            out = logits[r, slot]
            _softmax(out)
            for k in range(size):
                out[k] = np.float32(math.log((np.float32(1) - share) * out[k] + share * pointed[k] + tiny))
            _unit(hidden[r], key[q], keys[r, q, frame])


@kernel
def draw(logits: Any, scales: Any, uniforms: Any, temperature: float, top_k: int, top_p: float) -> Any:
    """Codes `[B, C]` from logits `[branches, B, C, K]`, mixed with a scale for each branch; see `sampling.draw`."""
    _, items, cells, size = logits.shape
    codes = np.empty((items, cells), np.int64)
    p = np.empty(size, np.float32)
    for b in range(items):
        for c in range(cells):
            p[:] = 0
            for branch in range(len(scales)):
                for k in range(size):
                    p[k] += scales[branch] * logits[branch, b, c, k]
            least = np.partition(p, size - top_k)[size - top_k] if 0 < top_k < size else np.float32(-np.inf)
            highest = p.max()
            for k in range(size):
                p[k] = _exp((p[k] - highest) / temperature) if p[k] >= least else np.float32(0)
            if top_p > 0:
                _keep_mass(p, top_p)
            wanted = uniforms[b, c] * _total(p, np.inf)[1]
            codes[b, c] = _total(p, wanted)[0]
    return codes


@inline_kernel
def _keep_mass(p: Any, top_p: float) -> None:
    """Set to zero the probabilities outside of the nucleus: those after the most likely ones that reach `top_p` together."""
    limit = top_p * _total(p, np.inf)[1]
    mass = 0.0
    for k in np.argsort(-p, kind="mergesort"):
        kept = mass < limit
        mass += p[k]
        if not kept:
            p[k] = 0


@exact_kernel
def _total(p: Any, wanted: float) -> tuple[int, float]:
    """The first index at which the running sum passes `wanted`, or the last one, and the sum there; in float64."""
    total = 0.0
    for k in range(len(p)):
        total += p[k]
        if total > wanted:
            return k, total
    return len(p) - 1, total
