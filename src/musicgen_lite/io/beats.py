"""The beat of a clip, and that of each clip in the index of a token store."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from musicgen_lite.errors import UserError
from musicgen_lite.io.arrays import ArrayStore

BPM, FIRST = COLUMNS = ("bpm", "beat_s")
BAR_BEATS = 4
PERIOD_BEATS = 2 * BAR_BEATS  # music often answers a bar by the next: times are kept within two


class Beat(NamedTuple):
    """A tempo in BPM, and the seconds from the start of what it is the beat of to the first beat of any bar."""

    bpm: float
    beat_s: float = 0.0

    @property
    def known(self) -> bool:
        """Whether both numbers are there."""
        return math.isfinite(self.bpm) and math.isfinite(self.beat_s)

    def later(self, seconds: float) -> "Beat":
        """The same beat for what starts that many seconds later, reduced to the next two bars of four beats."""
        return Beat(self.bpm, (self.beat_s - seconds) % (PERIOD_BEATS * 60 / self.bpm))


NO_BEAT = Beat(math.nan, math.nan)


class Beats:
    """The beats of the clips in a token store.

    UserError for a store with one of the two columns, and for a beat of which one number is missing or impossible.
    """

    def __init__(self, store: ArrayStore) -> None:
        self._store = store
        present = [name for name in COLUMNS if name in store.index.columns]
        if len(present) == 1:
            raise UserError(
                f"{store.directory}: its index has a column {present[0]!r}, but not both of {' and '.join(COLUMNS)}; run "
                "`dvc repro tokenize`"
            )
        nothing = np.full(len(store), math.nan)
        self._bpm, self._first = (store.index[name].to_numpy(float) if present else nothing for name in COLUMNS)
        self.known = ~(np.isnan(self._bpm) & np.isnan(self._first))
        possible = np.isfinite(self._bpm) & (self._bpm > 0) & np.isfinite(self._first)
        for row in np.flatnonzero(self.known & ~possible)[:1]:
            raise UserError(
                f"{store.directory}: clip {store.index['key'].iloc[row]!r} has bpm {self._bpm[row]:g} and beat_s "
                f"{self._first[row]:g}; a tempo above 0 and a finite time are allowed, or neither: run `dvc repro tokenize`"
            )

    def __getitem__(self, clip: str) -> Beat:
        """The beat of a clip, NO_BEAT where it is not known."""
        row = self._store.row(clip)
        return Beat(float(self._bpm[row]), float(self._first[row])) if self.known[row] else NO_BEAT

    def in_order(self) -> Iterator[tuple[str, Beat]]:
        """The known beats with their clips, sorted by clip."""
        known = self._store.index["key"][self.known].sort_values()
        rows = known.index.to_numpy()
        for clip, bpm, first in zip(known, self._bpm[rows], self._first[rows], strict=True):
            yield str(clip), Beat(float(bpm), float(first))
