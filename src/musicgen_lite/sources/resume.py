"""A corpus that is gone on with where an earlier run was stopped: whole shards of clips stay, and the pieces before are not computed again."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from musicgen_lite.compute import Engine
from musicgen_lite.io.clips import Clip, ClipStore
from musicgen_lite.io.files import read_json, write_json
from musicgen_lite.sources.tables import Reject

STATE = "begun.json"


class Begun:
    """An engine for the clips that are written into `folder`, shard by shard.

    What an earlier run has saved there is not computed again, with any engine. leaked: what `drop_leaked` has rejected so far.
    """

    here = False

    def __init__(self, folder: Path, engine: Engine) -> None:
        self._engine, self._folder = engine, folder
        state = read_json(folder / STATE) if (folder / STATE).exists() else {}
        self.shards = int(state.get("shards", 0))
        self.leaked: list[dict[str, str]] = state.get("leaked", [])
        self._done, self._within = int(state.get("pieces", 0)), int(state.get("within", 0))
        self._known = {int(number): reasons for number, reasons in state.get("reasons", {}).items()}
        self._reasons: dict[int, list[str]] = {}  # of this run, by the number of the piece
        self._piece, self._taken = -1, 0  # the piece whose clips are taken now, and how many of them were
        for shard in sorted(folder.glob("clips-*.parquet"))[self.shards :]:
            shard.unlink()

    @property
    def device(self) -> str:
        return self._engine.device

    def map(self, work: Any, pieces: Iterable[Any]) -> Iterator[Any]:
        """See `Engine.map`; a piece whose clips are all written gives `work.refused(reasons)`, what it had besides clips."""
        coming = iter(pieces)
        for _ in islice(coming, self._done):
            self._piece += 1
            yield work.refused(self._known.get(self._piece, []))
        for result in self._engine.map(work, coming):
            self._piece, self._taken = self._piece + 1, 0
            yield result

    def rejecting(self, reject: Reject) -> Reject:
        """`reject`, whose reasons for what is in a piece are kept."""

        def kept(name: str, reason: str) -> None:
            if self._piece >= 0:
                self._reasons.setdefault(self._piece, []).append(reason)
            reject(name, reason)

        return kept

    def clips(self, source: Iterator[Clip]) -> Iterator[Clip]:
        """All clips in order: those of the shards that are there, then those of `source`."""
        yield from ClipStore(self._folder) if self.shards else ()
        for clip in source:
            self._taken += 1
            if self._piece > self._done or self._taken > self._within:
                yield clip

    def save(self, shards: int) -> None:
        """Note that the clips so far are in so many whole shards."""
        before = {number: reasons for number, reasons in self._reasons.items() if number < self._piece}
        state = {
            "shards": shards,
            "pieces": self._piece,
            "within": self._taken,
            "reasons": before,
            "leaked": self.leaked,
        }
        write_json(self._folder / STATE, state)

    def close(self) -> None:
        """Remove what no finished corpus has."""
        (self._folder / STATE).unlink(missing_ok=True)
