"""How kernels are compiled: the decorators, their floating-point rules, and where the results are kept."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

from numba import extending, njit
from numba.core.registry import cpu_target

from musicgen_lite.generation.kernels.cache import KernelCache

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def _compiled(**options: Any) -> Decorator:
    """A decorator that compiles a kernel once for a machine: numba caches it in NUMBA_CACHE_DIR or in the user's cache folder.

    If neither is writable it goes beside the source, and if that is not either, each process compiles it again.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        dispatcher = njit(**options)(function)
        with suppress(RuntimeError):  # numba finds no place for its cache
            dispatcher._cache = KernelCache(function)
        return cast(Callable[..., Any], dispatcher)

    return decorate


# Sums may be vectorised, and a product and a sum share one rounding. Infinite values stay allowed. numpy's error model: a check
# for division by zero would prevent vectorisation, and no divisor is 0.
FAST = {"fastmath": {"reassoc", "contract", "nsz"}, "error_model": "numpy"}
# Parts of kernels are always inlined, by LLVM, and no other code may call them, which saves wrappers that take long to compile.
PART = {"forceinline": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
kernel: Decorator = _compiled(nogil=True, no_cfunc_wrapper=True, **FAST)
inline_kernel: Decorator = _compiled(**FAST, **PART)
inline_scalar: Decorator = _compiled(error_model="numpy", fastmath={"contract"}, **PART)
exact_kernel: Decorator = _compiled(**PART)
intrinsic = cast(Decorator, extending.intrinsic)


def features() -> set[str]:
    """What LLVM calls the instructions that kernels may use."""
    listed = cpu_target.target_context.codegen().magic_tuple()[2].split(",")
    return {name.removeprefix("+") for name in listed if name.startswith("+")}


def instruction_set() -> str:
    """The processor that kernels are compiled for, and its widest vectors; NUMBA_CPU_NAME and NUMBA_CPU_FEATURES set others."""
    processor = cpu_target.target_context.codegen().magic_tuple()[1]
    there = [name for name in ("avx512f", "avx2", "avx", "sse4.2", "neon") if name in features()]
    return f"{processor}, {there[0]}" if there else str(processor)
