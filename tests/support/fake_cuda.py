"""A GPU that is not there: torch's fake tensors have its device and compute only shapes, so that code for it runs anywhere.

Mixed devices raise, as they do on a GPU. So does here what waits for it: reading a number (`item`, `bool`, `tolist`, indexing
by a mask), and copies to the host; inside `without_copies` also copies to the GPU, which read from the host each time.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from musicgen_lite import patterns
from musicgen_lite.models.core import transformer

DEVICE = torch.device("cuda:0")
COPIES = (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)


class _Trap(TorchDispatchMode):
    """Raises where a tensor crosses from the GPU to the host, with `both` also in the other direction."""

    def __init__(self, both: bool) -> None:
        super().__init__()
        self.both = both

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        source = args[1 if function is COPIES[1] else 0] if function in COPIES else None
        before = None if source is None else source.device.type
        out = function(*args, **(kwargs or {}))
        if before is not None and before != out.device.type and (self.both or before == "cuda"):
            raise AssertionError(f"a copy from {before} to {out.device.type}")
        return out


@contextmanager
def fake_cuda() -> Iterator[None]:
    """All tensors made inside are fake, on `DEVICE` unless a device is named; outside nothing of it stays."""
    kept = patterns._layout, transformer.rotations
    for cache in kept:
        cache.cache_clear()
    try:
        with FakeTensorMode(allow_non_fake_inputs=True), _Trap(both=False), DEVICE:
            yield
    finally:
        for cache in kept:
            cache.cache_clear()


def to_dtype(model: nn.Module, dtype: torch.dtype) -> None:
    """What `model.to(dtype)` does; torch's own way swaps tensors, which fake ones refuse."""
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            module.register_parameter(name, nn.Parameter(parameter.detach().to(dtype)))
        for name, buffer in list(module.named_buffers(recurse=False)):
            module.register_buffer(name, buffer.to(dtype), persistent=False)


def without_copies() -> TorchDispatchMode:
    """Inside, no tensor crosses between host and GPU."""
    return _Trap(both=True)
