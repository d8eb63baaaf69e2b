"""Files that an engine cuts into clips: their pieces may be cut in other processes, in the order and with the bytes of this one."""

import platform
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np

from musicgen_lite.compute import Engine
from musicgen_lite.errors import UserError
from musicgen_lite.sources.cutting import cut, needs_ffmpeg
from musicgen_lite.sources.tables import Reject

SENT_S = 600.0  # of clips that travel between processes together
Cut = tuple[int, np.ndarray] | str  # a clip by its number, float32 `[T]`, or why there is none
Facts = TypeVar("Facts")


@dataclass(frozen=True)
class FilePart:
    """A window of a file, in seconds; place: what reasons name it by."""

    place: str
    path: Path
    start_s: float = 0.0
    end_s: float | None = None


@dataclass(frozen=True)
class Encoded:
    """A whole file's bytes, and the name whose ending tells their format where soundfile does not."""

    place: str
    data: bytes
    name: str


@dataclass(frozen=True)
class Refused:
    """Something that stands among files, in their order, and is rejected as it is."""

    place: str
    reason: str


Piece = FilePart | Encoded | Refused


@dataclass(frozen=True)
class Cuts:
    """The first cuts of a piece; whole: whether there are no more."""

    found: list[Cut]
    whole: bool


@dataclass(frozen=True)
class Cutting:
    """The clips of a piece, as `cut` gives them: what the stage `download` computes of files, wherever it does.

    most: clips of one piece, from its start; 0: all.
    """

    rate: int
    seconds: float
    shortest: float | None = None
    most: int = 0

    def name(self, piece: Piece) -> str:
        """See `Work.name`."""
        return piece.place

    def read(self, piece: Piece) -> Piece:
        """See `Work.read`."""
        return piece

    def compute(self, inputs: Piece) -> Cuts:
        """As many cuts as travel together; see `Work.compute`."""
        cuts = self.each(inputs)
        return Cuts(list(islice(cuts, self.sent)), next(cuts, None) is None)

    def refused(self, reasons: list[str]) -> Cuts:
        """The result that has these reasons and no clips; see `resume.Begun.map`."""
        return Cuts(list(reasons), whole=True)

    @property
    def sent(self) -> int:
        """How many cuts travel together."""
        return max(1, int(SENT_S / self.seconds))

    def each(self, piece: Piece) -> Iterator[Cut]:
        """All cuts of a piece, one in memory at a time. UserError for a file that this machine does not see."""
        match piece:
            case Refused():
                yield piece.reason
            case Encoded():
                with tempfile.TemporaryDirectory() as folder:
                    suffix = Path(piece.name).suffix
                    file = Path(folder, "audio" + (suffix if needs_ffmpeg(Path(piece.name)) else ""))
                    file.write_bytes(piece.data)
                    yield from self._of_file(file, 0.0, None)
            case FilePart():
                if not piece.path.exists():
                    raise UserError(
                        f"{piece.path}: it was there when this stage began; {platform.node()} does not see it (now). Every "
                        "machine that computes needs the file under this path; run the same command again"
                    )
                yield from self._of_file(piece.path, piece.start_s, piece.end_s)

    def _of_file(self, path: Path, start_s: float, end_s: float | None) -> Iterator[Cut]:
        reasons: list[str] = []
        cuts = cut(path, start_s, end_s, self.rate, self.seconds, reasons.append, self.shortest)
        for clip in islice(cuts, self.most or None):
            yield from reasons
            reasons.clear()
            yield clip
        yield from reasons


def cut_each(
    engine: Engine, cutting: Cutting, pieces: Iterable[tuple[Facts, Piece]], reject: Reject
) -> Iterator[tuple[Facts, int, np.ndarray]]:
    """The clips of all `pieces` in order: the facts that came with the piece, the clip's number in it, and its samples.

    `reject(place, reason)` is called in the same order. The end of what is longer than `SENT_S` is cut here by any engine.
    """
    for facts, piece, cuts in _cut_here(cutting, pieces) if engine.here else _cut_there(engine, cutting, pieces):
        for one in cuts:
            if isinstance(one, str):
                reject(piece.place, one)
            else:
                yield facts, *one


def _cut_here(cutting: Cutting, pieces: Iterable[tuple[Facts, Piece]]) -> Iterator[tuple[Facts, Piece, Iterable[Cut]]]:
    """Clips are taken as they come, one in memory at a time."""
    return ((facts, piece, cutting.each(piece)) for facts, piece in pieces)


def _cut_there(
    engine: Engine, cutting: Cutting, pieces: Iterable[tuple[Facts, Piece]]
) -> Iterator[tuple[Facts, Piece, Iterable[Cut]]]:
    begun = deque[tuple[Facts, Piece]]()

    def handed_out() -> Iterator[Piece]:
        for facts, piece in pieces:
            begun.append((facts, piece))
            yield piece

    for cuts in engine.map(cutting, handed_out()):
        facts, piece = begun.popleft()
        yield facts, piece, cuts.found
        if not cuts.whole:
            yield facts, piece, islice(cutting.each(piece), cutting.sent, None)
