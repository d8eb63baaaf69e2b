"""Works that say in a file what is computed, and where; pickled whole, since Ray's workers have no tests."""

import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from musicgen_lite.compute import Engine, Recipe
from musicgen_lite.errors import UserError


@dataclass(frozen=True)
class Counted:
    """Another work, each of whose calls is a line of `log`: process, node and piece; it takes `pause` seconds longer."""

    work: Any
    log: str
    pause: float = 0.0

    def name(self, piece: Any) -> str:
        return str(self.work.name(piece))

    def read(self, piece: Any) -> tuple[str, Any]:
        return self.name(piece), self.work.read(piece)

    def compute(self, inputs: tuple[str, Any]) -> Any:
        import ray

        node = ray.get_runtime_context().get_node_id()
        with open(self.log, "a") as file:
            file.write(f"{os.getpid()}\t{node}\t{inputs[0]}\n")
        time.sleep(self.pause)
        return self.work.compute(inputs[1])


@dataclass(frozen=True)
class Counting:
    """An engine whose works are `Counted`."""

    engine: Engine
    log: Path
    pause: float = 0.0
    here: bool = False

    @property
    def device(self) -> str:
        return self.engine.device

    def map(self, work: Any, pieces: Iterable[Any]) -> Iterator[Any]:
        return self.engine.map(Counted(work, str(self.log), self.pause), pieces)

    def calls(self) -> list[tuple[int, str, str]]:
        """Process, node and piece of each call so far."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [(int(process), node, piece) for process, node, piece in (line.split("\t") for line in lines)]


@dataclass(frozen=True)
class Doubled:
    """Twice a number; `deadly` ends its process, `wrong` is refused."""

    deadly: int = -1
    wrong: int = -1
    pause: float = 0.0

    def name(self, piece: int) -> str:
        return f"number {piece}"

    def read(self, piece: int) -> int:
        return piece

    def compute(self, inputs: int) -> int:
        if inputs == self.deadly:
            os._exit(1)
        if inputs == self.wrong:
            raise UserError(f"number {inputs}: it is wrong")
        time.sleep(self.pause)
        return 2 * inputs


@dataclass(frozen=True)
class LoadsOnly:
    """Loads a model, and gives its fingerprint."""

    recipe: Recipe[Any]

    def name(self, piece: int) -> str:
        return "the model"

    def read(self, piece: int) -> int:
        return piece

    def compute(self, inputs: int) -> str:
        return str(self.recipe.model.fingerprint)


@dataclass(frozen=True)
class Threads:
    """The threads with which torch and the BLAS of numpy compute there."""

    def name(self, piece: int) -> str:
        return "threads"

    def read(self, piece: int) -> int:
        return piece

    def compute(self, inputs: int) -> tuple[int, set[int]]:
        import numpy as np
        import torch
        from threadpoolctl import threadpool_info

        assert np.dot([1.0], [2.0]) == 2.0
        return torch.get_num_threads(), {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}
