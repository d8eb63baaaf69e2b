"""Results that are kept: what is computed, what is read again, and in which order pieces are taken."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from musicgen_lite.compute import Local
from musicgen_lite.compute.keeping import Keeping

PIECES = [3, 1, 4, 1, 5, 9, 2]


@dataclass
class Ranges:
    """Two items for a piece, of two arrays of unlike shapes and types each; `stop` is the piece that ends the run."""

    stop: int = 0
    computed: list[int] = field(default_factory=list)

    def name(self, piece: int) -> str:
        return str(piece)

    def read(self, piece: int) -> int:
        return piece

    def compute(self, inputs: int) -> list[tuple[np.ndarray, ...]]:
        self.computed.append(inputs)
        if inputs == self.stop:
            raise KeyboardInterrupt
        return [
            (np.arange(inputs), np.ones((2, inputs), np.float32)),
            (np.array([inputs], np.float64), np.zeros((0, 2))),
        ]


@dataclass
class Source:
    """Pieces, and how many of them were taken."""

    taken: int = 0

    def __iter__(self) -> Iterator[int]:
        for piece in PIECES:
            self.taken += 1
            yield piece


def computed(work: Ranges, folder: Path) -> list[list[tuple[np.ndarray, ...]]]:
    source, found = Source(), []
    for number, result in enumerate(Keeping(Local(), folder, tuple).map(work, source)):
        assert source.taken > number  # who checks pieces has checked this one
        found.append(result)
    assert source.taken == len(PIECES)
    return found


def kept(folder: Path) -> list[list[tuple[np.ndarray, ...]]]:
    return list(Keeping(Local(), folder, tuple).kept())


def equal(found: list[list[tuple[np.ndarray, ...]]]) -> None:
    expected = [Ranges().compute(piece) for piece in PIECES]
    np.testing.assert_equal(found, expected)
    assert [[[one.dtype for one in item] for item in result] for result in found] == [
        [[one.dtype for one in item] for item in result] for result in expected
    ]


@pytest.mark.parametrize(("stop", "before"), [(3, 0), (5, 4), (2, 6)])
def test_a_stopped_run_goes_on_with_the_pieces_that_have_no_result(tmp_path: Path, stop: int, before: int) -> None:
    first, second, third = Ranges(stop), Ranges(), Ranges()
    with pytest.raises(KeyboardInterrupt):
        computed(first, tmp_path / "kept")
    assert first.computed == PIECES[: before + 1]
    equal(computed(second, tmp_path / "kept"))
    assert second.computed == PIECES[before:]
    equal(computed(third, tmp_path / "kept"))
    assert third.computed == []
    equal(kept(tmp_path / "kept"))


def test_what_is_missing_between_others_alone_is_computed(tmp_path: Path) -> None:
    computed(Ranges(), tmp_path)
    for number in (0, 4):
        (tmp_path / f"{number:06d}.npz").unlink()
    (tmp_path / ".000002.npz.0123.part.npz").touch()  # what a killed writer leaves
    work = Ranges()
    equal(computed(work, tmp_path))
    assert work.computed == [PIECES[0], PIECES[4]]
