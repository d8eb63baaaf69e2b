"""The beat of a clip, and that of each clip in the index of a token store."""

import math
from typing import NamedTuple

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


def read_beats(store: ArrayStore) -> dict[str, Beat]:
    """The clips whose beat is known, by key: both columns are there and hold no NaN.

    UserError for a store with one of the columns, and for a beat of which one number is missing or impossible.
    """
    index = store.index
    present = [name for name in COLUMNS if name in index.columns]
    if len(present) == 1:
        raise UserError(
            f"{store.directory}: its index has a column {present[0]!r}, but not both of {' and '.join(COLUMNS)}; run "
            "`dvc repro tokenize`"
        )
    if not present:
        return {}
    known = index.loc[index[BPM].notna() | index[FIRST].notna(), ["key", *COLUMNS]]
    beats = {str(key): Beat(float(bpm), float(first)) for key, bpm, first in known.itertuples(index=False)}
    for key, (bpm, first) in beats.items():
        if not (math.isfinite(bpm) and bpm > 0 and math.isfinite(first)):
            raise UserError(
                f"{store.directory}: clip {key!r} has bpm {bpm:g} and beat_s {first:g}; a tempo above 0 and a finite time are "
                "allowed, or neither: run `dvc repro tokenize`"
            )
    return beats
