"""Candidates that are kept as they are made: what a stopped run has finished is not made again."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from musicgen_lite.compute import Engine, Work
from musicgen_lite.generation.candidates import Made
from musicgen_lite.io.files import atomic_path


@dataclass(frozen=True)
class Keeping:
    """An engine that keeps the candidates of each piece in a file of `folder`, and computes those alone that have none.

    The folder is of one list of pieces: the third piece is always the third file. See `Engine`.
    """

    engine: Engine
    folder: Path

    @property
    def here(self) -> bool:
        return self.engine.here

    @property
    def device(self) -> str:
        return self.engine.device

    def map(self, work: Work[Any, Any, Any], pieces: Iterable[Any]) -> Iterator[Any]:
        """See `Engine.map`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        files = {self.folder / f"{number:06d}.npz": piece for number, piece in enumerate(pieces)}
        missing = {file for file in files if not file.exists()}
        made = self.engine.map(work, [files[file] for file in files if file in missing])
        for file in files:
            if file in missing:
                _write(file, next(made))
            yield _read(file)


def _write(file: Path, made: list[Made]) -> None:
    with atomic_path(file) as part:
        np.savez(part, waves=[one.wave for one in made], embedded=[one.embedded for one in made])


def _read(file: Path) -> list[Made]:
    with np.load(file) as kept:
        return [Made(wave, embedded) for wave, embedded in zip(kept["waves"], kept["embedded"], strict=True)]
