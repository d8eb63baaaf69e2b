"""CUDA graphs: the kernels of a function, recorded once and launched together from then on."""

from collections.abc import Callable, Hashable
from typing import Protocol

import torch
from torch import Tensor

KEPT = 64  # graphs, of which each holds memory


class Run(Protocol):
    """How functions of tensors are called; those with equal keys do the same."""

    def __call__(self, key: Hashable, function: Callable[..., Tensor], *inputs: Tensor) -> Tensor: ...


def directly(key: Hashable, function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """Without graphs: call the function."""
    return function(*inputs)


class Graphs:
    """Each function is recorded when it is first called; it must wait for nothing, and write to memory that stays alone."""

    def __init__(self) -> None:
        self._graphs: dict[Hashable, _Graph] = {}

    def __call__(self, key: Hashable, function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        """What the function returns, in memory that its next call overwrites."""
        if key not in self._graphs:
            if len(self._graphs) == KEPT:
                self._graphs.clear()
            self._graphs[key] = _Graph(function, inputs)
        return self._graphs[key](*inputs)


class _Graph:
    def __init__(self, function: Callable[..., Tensor], inputs: tuple[Tensor, ...]) -> None:
        self.inputs = [x.clone() for x in inputs]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):  # what libraries set up at a first call cannot be recorded
            for _ in range(2):
                function(*self.inputs)
        torch.cuda.current_stream().wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.output = function(*self.inputs)

    def __call__(self, *inputs: Tensor) -> Tensor:
        for kept, x in zip(self.inputs, inputs, strict=True):
            kept.copy_(x)
        self.graph.replay()
        return self.output
