"""Parts of the test clips: which are the reference, which are generated for, and the windows they are cut into."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from musicgen_lite import audio
from musicgen_lite.scoring.pairing import split_halves
from musicgen_lite.sources.clips import ClipStore

# Fixed, not a parameter: all results of one corpus are measured against the same reference.
HALVES_SEED = 0


def halves(clips: ClipStore, limit: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Test clips that are the reference of distances, and at most `limit` of the others, which are generated for.

    Both in stored order; no track is in both.
    """
    rows = clips.split("test")
    reference = split_halves(rows["track_id"].tolist(), HALVES_SEED)
    return rows[reference], rows[~reference].head(limit)


def window(clips: ClipStore, rate: int, start_s: float, seconds: float) -> Callable[[str], tuple[np.ndarray, int]]:
    """A reader of one window of any clip: samples `[T]` and rate."""

    def read(clip_id: str) -> tuple[np.ndarray, int]:
        samples, rate_in = clips.samples(clip_id)
        start = round(start_s * rate)
        return audio.resample(samples, rate_in, rate)[start : start + round(seconds * rate)], rate

    return read
