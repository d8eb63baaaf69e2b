"""Kernels of what follows the layers: the pointer head, and drawing codes from logits."""

import math
from typing import Any

import numpy as np

from musicgen_lite.generation.kernels.arithmetic import exp
from musicgen_lite.generation.kernels.attention import HIDDEN, ONE, ZERO
from musicgen_lite.generation.kernels.compiled import exact_kernel, inline_kernel, kernel
from musicgen_lite.generation.kernels.layers import normalise

LEAST = np.float32(1e-30)  # guidance subtracts logarithms, which must be finite
SHORTEST = np.float32(1e-12)  # length of a vector that is brought to length 1


@exact_kernel
def _dot(a: Any, b: Any) -> Any:
    """The sum of the products of two vectors, in their order."""
    total = ZERO
    for i in range(len(a)):
        total += a[i] * b[i]
    return total


@inline_kernel
def _unit(x: Any, matrix: Any, out: Any) -> None:
    """out `[p]`: x `[d]` times matrix `[d, p]`, at length 1."""
    for j in range(len(out)):
        out[j] = ZERO
    for i in range(len(x)):
        for j in range(len(out)):
            out[j] += x[i] * matrix[i, j]
    length = max(np.float32(math.sqrt(_dot(out, out))), SHORTEST)
    for j in range(len(out)):
        out[j] /= length


@inline_kernel
def _highest(x: Any) -> Any:
    highest = x[0]
    for i in range(len(x)):
        highest = max(highest, x[i])
    return highest


@inline_kernel
def _softmax(x: Any) -> None:
    """x `[n]` as probabilities, in place."""
    highest = _highest(x)
    total = ZERO
    for i in range(len(x)):
        x[i] = exp(x[i] - highest)
        total += x[i]
    for i in range(len(x)):
        x[i] /= total


@kernel
def point(logits: Any, x: Any, norm: Any, head: Any, keys: Any, codes: Any, cells: Any, tiny: float) -> None:
    """Turn logits `[R, C, K]` into log-probabilities, mixed with what each cell points at; see `PointerHead.step`.

    x: the residual stream `[R, d]` after the last layer; norm: weight and bias; head: query and key `[N_q, d, p]`, gate `[N_q, d]`, its bias and the temperature `[N_q]`; keys, codes:
    the cache, `[R, N_q, T, p]` and `[R, N_q, T]`; cells: `[n, 3]`, slot, codebook and frame of each cell of the step.
    """
    rows, _, size = logits.shape
    query, key, gates, gate_bias, temperature = head
    hidden = np.empty(x.shape, np.float32)
    normalise(x, norm[0], norm[1], hidden)
    state = np.empty(query.shape[2], np.float32)
    pointed = np.empty(size, np.float32)
    for r in range(rows):
        for n in range(len(cells)):
            slot, q, frame = cells[n, 0], cells[n, 1], cells[n, 2]
            share = ZERO
            for k in range(size):
                pointed[k] = ZERO
            if frame > 0:
                _unit(hidden[r], query[q], state)
                weights = np.empty(frame, np.float32)
                for t in range(frame):
                    weights[t] = temperature[q] * _dot(state, keys[r, q, t])
                _softmax(weights)
                for t in range(frame):
                    if codes[r, q, t] < size:
                        pointed[codes[r, q, t]] += weights[t]
                share = ONE / (ONE + exp(-gate_bias[q] - _dot(gates[q], hidden[r])))
            out = logits[r, slot]
            _softmax(out)
            for k in range(size):
                mixed = (ONE - share) * out[k] + share * (pointed[k] + tiny)
                out[k] = np.float32(math.log(max(mixed, LEAST)))
            _unit(hidden[r], key[q], keys[r, q, frame])


@kernel
def draw(logits: Any, scales: Any, uniforms: Any, temperature: float, top_k: int, top_p: float) -> Any:
    """Codes `[B, C]` from logits `[branches, B, C, K]`, mixed with a scale for each branch; see `sampling.draw`."""
    branches, items, cells, size = logits.shape
    codes = np.empty((items, cells), np.int64)
    p, work, order = np.empty(size, np.float32), np.empty(size, np.float32), np.empty(size, np.int64)
    for b in range(items):
        for c in range(cells):
            for k in range(size):
                p[k] = ZERO
            for branch in range(branches):
                for k in range(size):
                    p[k] += scales[branch] * logits[branch, b, c, k]
            least = _largest(p, top_k, work) if 0 < top_k < size else HIDDEN
            highest = _highest(p)
            for k in range(size):
                p[k] = exp((p[k] - highest) / temperature) if p[k] >= least else ZERO
            if top_p > 0:
                _keep_mass(p, top_p, order)
            wanted = uniforms[b, c] * _total(p, np.inf)[1]
            codes[b, c] = _total(p, wanted)[0]
    return codes


@inline_kernel
def _largest(p: Any, number: int, work: Any) -> Any:
    """The `number`-th largest of p, by Hoare's quickselect; work: room for a copy."""
    for k in range(len(p)):
        work[k] = p[k]
    low, high, wanted = 0, len(p) - 1, number - 1
    while low < high:
        pivot, i, j = work[(low + high) // 2], low, high
        while i <= j:
            while work[i] > pivot:
                i += 1
            while pivot > work[j]:
                j -= 1
            if i <= j:
                work[i], work[j] = work[j], work[i]
                i += 1
                j -= 1
        if wanted <= j:
            high = j
        elif wanted >= i:
            low = i
        else:
            break
    return work[wanted]


@inline_kernel
def _keep_mass(p: Any, top_p: float, heap: Any) -> None:
    """Set to zero the probabilities outside of the nucleus: those after the most likely ones that reach `top_p` together.

    heap: room for the indices of p, of which the most likely is on top; of equal ones the first is.
    """
    limit, mass, left = top_p * _total(p, np.inf)[1], 0.0, len(p)
    for k in range(len(p)):
        heap[k] = k
    for k in range(len(p) // 2 - 1, -1, -1):
        _sift(p, heap, k, left)
    while left > 0 and mass < limit:
        mass += p[heap[0]]
        left -= 1
        heap[0] = heap[left]
        _sift(p, heap, 0, left)
    for k in range(left):
        p[heap[k]] = ZERO


@inline_kernel
def _sift(p: Any, heap: Any, at: int, size: int) -> None:
    """Let the index at one place of the heap sink below all likelier ones."""
    item = heap[at]
    while 2 * at + 1 < size:
        child = 2 * at + 1
        if child + 1 < size and _before(p, heap[child + 1], heap[child]):
            child += 1
        if not _before(p, heap[child], item):
            break
        heap[at] = heap[child]
        at = child
    heap[at] = item


@inline_kernel
def _before(p: Any, a: int, b: int) -> bool:
    return p[a] > p[b] or (p[a] == p[b] and a < b)


@exact_kernel
def _total(p: Any, wanted: float) -> tuple[int, float]:
    """The first index at which the running sum passes `wanted`, or the last one, and the sum there; in float64."""
    total = 0.0
    for k in range(len(p)):
        total += p[k]
        if total > wanted:
            return k, total
    return len(p) - 1, total
