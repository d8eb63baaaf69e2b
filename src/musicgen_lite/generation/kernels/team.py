"""Threads that run one kernel together, and the barrier at which they wait for each other.

Waiting threads spin, which costs less than a microsecond while each has a core to itself. Beside other programs a thread
may lose its core for some milliseconds in which all others wait, at each of a step's hundreds of barriers. So a step in
which a wait takes longer than `LONG_NS` goes on without the other threads, and so do the next ones for a while: results do
not depend on how many there are.
"""

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from musicgen_lite.generation.kernels.compiled import inline_kernel, intrinsic

SPINS = 20_000  # before a waiting thread lets others run: some tens of microseconds
LONG_NS = 500_000  # no wait is so long where each thread has a core
# One thread then works alone for a multiple of what was lost. The multiple doubles with each such step, which bounds the loss
# to 3 %, and falls with the others, so that a rare wait costs little.
MOST, FALL = 32.0, 0.9
BARRIER = 24  # numbers of 8 bytes: how many threads wait, how often all have passed, what long waits took, and whether
ARRIVED, PASSED, LOST, ALONE = 0, 8, 16, 17  # one thread goes on alone; the first two in cache lines of their own
CLOCK = time.CLOCK_MONOTONIC
I64 = ir.IntType(64)


def _place(context: Any, builder: Any, array: Any, value: Any, index: Any) -> Any:
    return builder.gep(context.make_array(array)(context, builder, value).data, [index])


def _call(builder: Any, name: str, given: list[Any]) -> Any:
    """Call a function of the system's C library that returns an int."""
    kind = ir.FunctionType(ir.IntType(32), [one.type for one in given])
    return builder.call(builder.module.globals.get(name) or ir.Function(builder.module, kind, name), given)


@intrinsic
def _add_atomic(typingctx: Any, array: Any, index: Any, amount: Any) -> Any:
    """Add to an int64 of an array and return what it was, seen by all threads in the same order."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.atomic_rmw("add", _place(context, builder, array, *args[:2]), args[2], "seq_cst")

    return types.int64(array, types.int64, types.int64), generate


@intrinsic
def _load_atomic(typingctx: Any, array: Any, index: Any) -> Any:
    """An int64 of an array, as the thread that changed it last left it."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load_atomic(_place(context, builder, array, *args), "seq_cst", 8)

    return types.int64(array, types.int64), generate


@intrinsic
def _give_way(typingctx: Any) -> Any:
    """Let the system run another thread."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _call(builder, "sched_yield", [])

    return types.int32(), generate


@intrinsic
def _now(typingctx: Any) -> Any:
    """Nanoseconds of a clock that only goes forward."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        time_ = builder.alloca(ir.ArrayType(I64, 2))
        _call(builder, "clock_gettime", [ir.IntType(32)(CLOCK), time_])
        seconds, nanoseconds = (builder.extract_value(builder.load(time_), i) for i in range(2))
        return builder.add(builder.mul(seconds, I64(1_000_000_000)), nanoseconds)

    return types.int64(), generate


@inline_kernel
def wait(barrier: Any, threads: int) -> int:
    """Return once all `threads` have called it: how many of them go on, all or, once a wait was long, the first alone.

    barrier: int64 `[BARRIER]`, zeros at the start of a step.
    """
    if threads == 1:
        return 1
    passed, spins, since = _load_atomic(barrier, PASSED), 0, 0
    if _add_atomic(barrier, ARRIVED, 1) == threads - 1:
        if _load_atomic(barrier, LOST) > 0:
            _add_atomic(barrier, ALONE, 1)
        _add_atomic(barrier, ARRIVED, -threads)
        _add_atomic(barrier, PASSED, 1)
    while _load_atomic(barrier, PASSED) == passed:
        spins += 1
        if spins == SPINS:
            since = _now()
        elif spins > SPINS:
            _give_way()
            lost = _now() - since
            if lost > LONG_NS:
                _add_atomic(barrier, LOST, lost)
                since += lost
    return 1 if _load_atomic(barrier, ALONE) else threads


class Team:
    """`threads` threads, the caller's among them, that run a kernel at the same time; no more than there are cores."""

    def __init__(self, threads: int) -> None:
        self.threads = team_size(threads)
        self._barrier = np.zeros(BARRIER, np.int64)
        self._others = ThreadPoolExecutor(self.threads - 1) if self.threads > 1 else None
        self._together_from = 0.0  # the time before which one thread works alone
        self._multiple = 1.0

    def run(self, kernel: Callable[..., None], *args: Any) -> None:
        """Call `kernel(thread, threads, barrier, *args)` on each thread, and wait for all."""
        self._barrier[:] = 0
        if self._others is None or time.perf_counter() < self._together_from:
            kernel(0, 1, self._barrier, *args)
            return
        others = [
            self._others.submit(kernel, thread, self.threads, self._barrier, *args) for thread in range(1, self.threads)
        ]
        kernel(0, self.threads, self._barrier, *args)
        done = time.perf_counter()
        for other in others:
            other.result()
        if not self._barrier[LOST]:
            self._multiple = max(FALL * self._multiple, 1.0)
            return
        now = time.perf_counter()
        self._together_from = now + self._multiple * (now - done + self._barrier[LOST] / 1e9)
        self._multiple = min(2 * self._multiple, MOST)


def team_size(threads: int) -> int:
    """How many of so many threads have a core of their own, on which alone spinning pays."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(threads, cores)
