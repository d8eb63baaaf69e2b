"""Kernels of what follows the layers: the pointer head, and drawing codes from logits."""

import math
from typing import Any

import numpy as np

from musicgen_lite.generation.kernels.arithmetic import exp
from musicgen_lite.generation.kernels.compiled import exact_kernel, inline_kernel, kernel
from musicgen_lite.generation.kernels.layers import normalise

LEAST = np.float32(1e-30)  # guidance subtracts logarithms, which must be finite


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
    hidden = np.empty_like(x)
    normalise(x, norm[0], norm[1], hidden)
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
                share = np.float32(1) / (np.float32(1) + exp(-gate))
            out = logits[r, slot]
            _softmax(out)
            for k in range(size):
                mixed = (np.float32(1) - share) * out[k] + share * (pointed[k] + tiny)
                out[k] = np.float32(math.log(max(mixed, LEAST)))
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
                p[k] = exp((p[k] - highest) / temperature) if p[k] >= least else np.float32(0)
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
