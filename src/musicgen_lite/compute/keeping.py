"""Results that are kept as they are computed: what a stopped run has finished is not computed again."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, groupby, takewhile
from pathlib import Path
from typing import Any

import numpy as np

from musicgen_lite.compute import Engine
from musicgen_lite.compute.work import Work
from musicgen_lite.io.files import atomic_path


@dataclass(frozen=True)
class Keeping:
    """An engine that keeps the result of each piece in a file of `folder`, and computes those alone that have none.

    The folder is of one list of pieces: the third piece is always the third file. A result is a list of sequences of arrays;
    `make` makes such a sequence of its arrays. See `Engine`.
    """

    engine: Engine
    folder: Path
    make: Callable[[Iterable[np.ndarray]], Any]

    @property
    def here(self) -> bool:
        return self.engine.here

    @property
    def device(self) -> str:
        return self.engine.device

    def map(self, work: Work[Any, Any, Any], pieces: Iterable[Any]) -> Iterator[Any]:
        """See `Engine.map`; every piece is taken from `pieces` before its result is given, also where that is kept."""
        self.folder.mkdir(parents=True, exist_ok=True)
        kept = {file.name for file in self.folder.iterdir()}
        coming, taken = enumerate(pieces), -1

        def missing() -> Iterator[Any]:
            nonlocal taken
            for taken, piece in coming:
                if _name(taken) not in kept:
                    yield piece

        computed = self.engine.map(work, missing())
        for number in count():
            file = self.folder / _name(number)
            if file.name in kept:
                if taken < number:
                    taken, _ = next(coming)
                yield self._read(file)
                continue
            try:
                result = next(computed)
            except StopIteration:
                return
            with atomic_path(file) as part:
                _save(part, result)
            yield result

    def kept(self) -> Iterator[Any]:
        """What `map` gave, once more."""
        return map(self._read, takewhile(Path.exists, (self.folder / _name(number) for number in count())))

    def _read(self, file: Path) -> list[Any]:
        with np.load(file) as kept:
            return [self.make(kept[name] for name in names) for _, names in groupby(kept, lambda name: name.split()[0])]


def _name(number: int) -> str:
    return f"{number:06d}.npz"


def _save(file: Path, result: Sequence[Sequence[np.ndarray]]) -> None:
    arrays: Any = {f"{i} {j}": array for i, some in enumerate(result) for j, array in enumerate(some)}
    np.savez(file, **arrays)
