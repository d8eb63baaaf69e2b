"""Where a stage computes what falls into pieces: in this process, in several of this machine, or by Ray on many machines.

A stage describes its work once, as what is done with one piece of a corpus, and takes the results in the order of the
pieces: every engine runs the same `Work` with the same threads on the same pieces, so that their bytes are the same.
"""

import os
from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

from musicgen_lite.compute.processes import Processes
from musicgen_lite.compute.work import Recipe, Work
from musicgen_lite.io.prefetch import prefetched
from musicgen_lite.params_compute import ComputeParams

__all__ = ["IN_THIS_PROCESS", "Engine", "Local", "Processes", "Recipe", "Work", "choose", "choose_plain"]

Piece = TypeVar("Piece")
Inputs = TypeVar("Inputs")
Result = TypeVar("Result")


class Engine(Protocol):
    """Runs a `Work` on pieces."""

    @property
    def here(self) -> bool:
        """Whether it does so in this process."""
        ...

    @property
    def device(self) -> str:
        """`cpu` or `cuda`, on which the models of a work compute."""
        ...

    def map(self, work: Work[Piece, Inputs, Result], pieces: Iterable[Piece]) -> Iterator[Result]:
        """The result of each of `pieces`, in their order; a few are read and computed ahead.

        Raises what the work raises for a piece; UserError where workers are lost again and again.
        """
        ...


class Local:
    """Computes in this process, while a thread reads the next pieces."""

    here = True

    def __init__(self, device: str = "cpu") -> None:
        self.device = device

    def map(self, work: Work[Piece, Inputs, Result], pieces: Iterable[Piece]) -> Iterator[Result]:
        """See `Engine.map`."""
        return map(work.compute, prefetched(work.read, pieces))


IN_THIS_PROCESS = Local()


def num_threads(params: ComputeParams) -> int:
    """The CPU threads that one process computes with."""
    return params.threads or os.cpu_count() or 1


def choose(params: ComputeParams) -> Engine:
    """The engine that the section `compute` names; nothing is started before its first use.

    UserError where Ray is named and not installed, where its cluster does not answer, or a GPU is asked for and missing.
    """
    if params.engine == "local":
        from musicgen_lite.device import choose_device  # torch takes seconds to load

        return Local(choose_device(params.device, "compute.device"))
    from musicgen_lite.compute.on_ray import OnRay

    device = "cuda" if params.gpus_per_worker else "cpu"
    return OnRay(device, params.address, params.workers, num_threads(params), params.gpus_per_worker)


def choose_plain(params: ComputeParams, processes: bool) -> Engine:
    """The engine for work that needs one thread and no model: where others have threads, it has processes.

    processes: whether `local` has them, or computes in this process. Raises what `choose` raises for Ray.
    """
    count = num_threads(params)
    if params.engine == "ray":
        from musicgen_lite.compute.on_ray import OnRay

        return OnRay("cpu", params.address, params.workers * count)
    return Processes(count) if processes and count > 1 else Local()
