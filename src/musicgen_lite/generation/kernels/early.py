"""Compiling kernels before they are called, beside other work: their signatures in one place."""

from threading import Thread
from typing import Any

from numba import types

from musicgen_lite.generation.kernels import amx
from musicgen_lite.generation.kernels.layers import embed, run
from musicgen_lite.generation.kernels.outputs import draw, point

STORED = {"float32": types.float32, "bfloat16": types.uint16, "int8": types.int8}
INT, FLOAT = types.int64, types.float32


def _array(dtype: Any, dimensions: int) -> Any:
    return types.Array(dtype, dimensions, "C")


def signatures(weights: str, kv_cache: str) -> dict[Any, tuple[Any, ...]]:
    """The types of the arguments with which `CpuDecoder` calls each kernel, for a format of weights and of keys and values."""
    ints, floats = ([_array(kind, n) for n in range(5)] for kind in (INT, FLOAT))
    dimensions = {"bfloat16": 3, "int8": 4}.get(weights, 2) if amx.available() else 2
    formats = _array(STORED[weights], dimensions), _array(STORED[kv_cache], 2)
    head = types.Tuple((floats[3], floats[3], floats[2], floats[1], floats[1]))
    norm = types.UniTuple(floats[2], 2)
    return {
        run: (INT, INT, ints[1], ints[2], INT, INT, INT, *formats, floats[2]),
        embed: (ints[2], ints[1], floats[2], floats[2], floats[2]),
        draw: (floats[4], floats[1], _array(types.float64, 2), FLOAT, INT, types.float64),
        point: (floats[3], floats[2], norm, head, floats[4], ints[3], ints[2], FLOAT),
    }


def compile_early(weights: str, kv_cache: str) -> None:
    """Begin to compile or load what decoding needs, and return: a kernel that is called before it is ready waits for it."""

    def compile_all() -> None:
        for kernel, given in signatures(weights, kv_cache).items():
            kernel.compile(given)

    Thread(target=compile_all, name="compile kernels", daemon=True).start()
