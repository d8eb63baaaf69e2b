"""How kernels are compiled: the decorators, their floating-point rules, and where the results are kept."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from numba import extending, njit

from musicgen_lite.generation.kernels.cache import share_by_content

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
share_by_content(Path(__file__).parent)


def _compiled(**options: Any) -> Decorator:
    """A decorator that compiles a kernel once for a machine: numba caches it in NUMBA_CACHE_DIR or in the user's cache folder.

    If neither is writable it goes beside the source, and if that is not either, each process compiles it again.
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
