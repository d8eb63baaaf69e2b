"""The beat of each clip, as the token store's index has it."""

import math

from musicgen_lite.errors import UserError
from musicgen_lite.io.arrays import ArrayStore

Beat = tuple[float, float]  # tempo in BPM, and seconds from the first frame to the first beat of a bar

BPM, FIRST = COLUMNS = ("bpm", "beat_s")
UNKNOWN: Beat = (math.nan, math.nan)


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
    beats = {str(key): (float(bpm), float(first)) for key, bpm, first in known.itertuples(index=False)}
    for key, (bpm, first) in beats.items():
        if not (math.isfinite(bpm) and bpm > 0 and math.isfinite(first)):
            raise UserError(
                f"{store.directory}: clip {key!r} has bpm {bpm:g} and beat_s {first:g}; a tempo above 0 and a finite time are "
                "allowed, or neither: run `dvc repro tokenize`"
            )
    return beats
