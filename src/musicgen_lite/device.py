"""Which device torch computes on, what it can hold, and with how many threads: one rule for all that name any of these."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits

from musicgen_lite.errors import UserError

WEIGHTS = {"cpu": ("float32", "bfloat16", "int8"), "cuda": ("float32", "bfloat16", "float16")}


def check_weights(value: str, device: str, parameter: str) -> None:
    """UserError for a format in which a device does not hold weights while it generates; device: as `choose_device` gives."""
    allowed = WEIGHTS[device.partition(":")[0]]
    if value not in allowed:
        raise UserError(f"{parameter}: found {value!r}; on {device} {', '.join(allowed)} are allowed")


def choose_kv_cache(value: str, weights: str, device: str, parameter: str) -> str:
    """The format of keys and values that `value` stands for: `auto` is float32 with float32 weights, else 16 bits.

    device, weights: as for `check_weights`. On a GPU it is that of the weights. UserError for a format that is not possible.
    """
    if not device.startswith("cpu"):
        if value not in ("auto", weights):
            raise UserError(f"{parameter}: found {value!r}; on {device} auto, the format of the weights, is allowed")
        return weights
    if value not in ("auto", "float32", "bfloat16"):
        raise UserError(f"{parameter}: found {value!r}; on {device} auto, float32, bfloat16 are allowed")
    if value != "auto":
        return value
    return "float32" if weights == "float32" else "bfloat16"


def set_threads(count: int) -> None:
    """Let this process compute with `count` CPU threads: torch's operations, and the products of numpy.

    The BLAS of numpy would else take every core, in each of several processes, and round by that number.
    """
    torch.set_num_threads(count)
    threadpool_limits(count, user_api="blas")


@contextmanager
def fitting(parameter: str, value: int, otherwise: str) -> Iterator[None]:
    """Turn running out of a GPU's memory into a UserError that names the smaller value of a parameter.

    value: how many clips were computed together; otherwise: the remedy where it was one.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        remedy = f"set it to {value // 2} or less, or {otherwise}" if value > 1 else otherwise
        raise UserError(f"{parameter}: {value} at a time, which do not fit into the GPU's memory; {remedy}") from error


def choose_device(value: str, parameter: str) -> str:
    """The device that `value` stands for: `auto` is `cuda` where torch sees a GPU, else `cpu`; others are taken as they are.

    parameter: what the user set, for the message. UserError for a GPU that is not there and for no device at all.
    """
    has_gpu = torch.cuda.is_available()
    if value == "auto":
        return "cuda" if has_gpu else "cpu"
    kind, _, index = value.partition(":")
    if kind not in ("cpu", "cuda") or (index and not index.isdecimal()):
        raise UserError(f"{parameter}: found {value!r}; allowed: auto, cpu, cuda, or one GPU by number, such as cuda:1")
    if kind == "cuda" and not has_gpu:
        raise UserError(f"{parameter}: found {value!r}, but torch sees no GPU here; set it to auto or cpu")
    return value
