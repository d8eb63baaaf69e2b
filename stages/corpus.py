"""Parts of the test clips: which are the reference, which are generated for, and the windows they are cut into."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from musicgen_lite import audio
from musicgen_lite.errors import UserError
from musicgen_lite.scoring.pairing import from_few_groups, split_halves
from musicgen_lite.sources.clips import ClipStore
from stages.common import MEASURE_SEED

GENRE = "x_genre"


def halves(clips: ClipStore, limit: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Test clips that are the reference of distances, and at most `limit` of the others, which are generated for.

    Both in stored order; no track is in both.
    """
    rows = clips.split("test")
    reference = split_halves(rows["track_id"].tolist(), MEASURE_SEED)
    return rows[reference], rows[~reference].head(limit)


def few_genres(clips: ClipStore, ids: list[str]) -> tuple[dict[str, str], str]:
    """Training clips of a quarter of the genres to stand for `ids`; or none, and why not."""
    train = clips.split("train")
    if GENRE not in train or train[GENRE].isna().any():
        return {}, "the source does not name every clip's genre"
    try:
        return from_few_groups(ids, dict(zip(train["id"], train[GENRE], strict=True)), MEASURE_SEED), ""
    except UserError as error:
        return {}, str(error)


def some_training_clips(clips: ClipStore, limit: int) -> list[str]:
    """Ids of at most `limit` training clips, drawn by seed, in stored order."""
    ids = clips.split("train")["id"].to_numpy()
    drawn = np.random.default_rng(MEASURE_SEED).permutation(len(ids))[:limit]
    return list(ids[np.sort(drawn)])


def window(clips: ClipStore, rate: int, start_s: float, seconds: float) -> Callable[[str], tuple[np.ndarray, int]]:
    """A reader of one window of any clip: samples `[T]` and rate."""

    def read(clip_id: str) -> tuple[np.ndarray, int]:
        samples, rate_in = clips.samples(clip_id)
        start = round(start_s * rate)
        return audio.resample(samples, rate_in, rate)[start : start + round(seconds * rate)], rate

    return read
