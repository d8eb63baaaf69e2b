"""Threads that run one kernel together, and the barrier at which they wait for each other."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from musicgen_lite.generation.kernels.compiled import inline_kernel, intrinsic

SPINS = 2000  # before a waiting thread lets others run: some tens of microseconds
BARRIER = 16  # numbers of 8 bytes: who has arrived, and in a cache line of its own how often all have
ARRIVED, PASSED = 0, 8


@intrinsic
def _add_atomic(typingctx: Any, array: Any, index: Any, amount: Any) -> Any:
    """Add to an int64 of an array and return what it was, seen by all threads in the same order."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = builder.gep(context.make_array(array)(context, builder, args[0]).data, [args[1]])
        return builder.atomic_rmw("add", place, args[2], "seq_cst")

    return types.int64(array, types.int64, types.int64), generate


@intrinsic
def _give_way(typingctx: Any) -> Any:
    """Let the system run another thread."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        function = builder.module.globals.get("sched_yield") or ir.Function(
            builder.module, ir.FunctionType(ir.IntType(32), []), "sched_yield"
        )
        return builder.call(function, [])

    return types.int32(), generate


@inline_kernel
def wait(barrier: Any, threads: int) -> None:
    """Return once all `threads` have called it; barrier: int64 `[BARRIER]`, zeros at the start."""
    if threads > 1:
        passed = _add_atomic(barrier, PASSED, 0)
        if _add_atomic(barrier, ARRIVED, 1) == threads - 1:
            _add_atomic(barrier, ARRIVED, -threads)
            _add_atomic(barrier, PASSED, 1)
        else:
            spins = 0
            while _add_atomic(barrier, PASSED, 0) == passed:
                spins += 1
                if spins > SPINS:
                    _give_way()


class Team:
    """`threads` threads, the caller's among them, that run a kernel at the same time."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.barrier = np.zeros(BARRIER, np.int64)
        self._others = ThreadPoolExecutor(threads - 1) if threads > 1 else None

    def run(self, kernel: Callable[..., None], *args: Any) -> None:
        """Call `kernel(thread, threads, barrier, *args)` on each thread, and wait for all."""
        others = [
            self._others.submit(kernel, thread, self.threads, self.barrier, *args)
            for thread in range(1, self.threads)
            if self._others is not None
        ]
        kernel(0, self.threads, self.barrier, *args)
        for other in others:
            other.result()
