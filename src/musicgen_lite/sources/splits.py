"""The evaluation sets of a corpus: which test clips are the reference, and which ones give prompts.

The split has a constant seed: all results of one corpus are scored against the same reference, so that they can be compared
in pairs.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from musicgen_lite.errors import UserError
from musicgen_lite.io.clips import ClipStore

EVALUATION_SEED = 0
GENRE = "x_genre"
FEW_TRACKS = 10


def halves(clips: ClipStore, limit: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Test clips that are the reference of distances, and at most `limit` of the others, which give prompts.

    Both in stored order; no track is in both. The others are spread over their tracks: one of each, then a second of
    each, and so on.
    """
    rows = clips.split("test")
    reference = split_halves(rows["track_id"].tolist(), EVALUATION_SEED)
    others = rows[~reference]
    turn = others.groupby("track_id", sort=False).cumcount().to_numpy()
    return rows[reference], others.iloc[np.sort(np.argsort(turn, kind="stable")[:limit])]


def check_tests(tracks: Sequence[str]) -> None:
    """Raise UserError, given each test clip's track, where a half would hold one clip, which has no interval."""
    reference = split_halves(tracks, EVALUATION_SEED)
    if min(reference.sum(), (~reference).sum()) < 2:
        raise UserError(
            f"test split: {len(reference)} clips of {len(set(tracks))} tracks; scores need a reference half and another of "
            "different tracks, and two clips in each: add tracks, or raise data.folder.test_fraction"
        )


def few_tracks(reference: pd.DataFrame, others: pd.DataFrame) -> str:
    """A warning about distances between halves of few tracks; "" where there are enough."""
    counts = [rows["track_id"].nunique() for rows in (reference, others)]
    if min(counts) >= FEW_TRACKS:
        return ""
    return (
        f"FAD and KAD are between clips of {counts[0]} test tracks (the reference) and of {counts[1]} others: below "
        f"{FEW_TRACKS} each they say more of these tracks than of the model, and their intervals are too narrow, because "
        "clips of one track are alike; give more tracks, or a larger share of them to the test split"
    )


def few_genres(clips: ClipStore, ids: list[str]) -> tuple[dict[str, str], str]:
    """For each of `ids` a training clip out of a quarter of the genres; or none, and why not."""
    train = clips.split("train")
    if GENRE not in train or train[GENRE].isna().any():
        return {}, "the source does not name every clip's genre"
    try:
        return from_few_groups(ids, dict(zip(train["id"], train[GENRE], strict=True)), EVALUATION_SEED), ""
    except UserError as error:
        return {}, str(error)


def some_training_clips(clips: ClipStore, limit: int) -> list[str]:
    """Ids of at most `limit` training clips, drawn by seed, in stored order."""
    ids = clips.split("train")["id"].to_numpy()
    drawn = np.random.default_rng(EVALUATION_SEED).permutation(len(ids))[:limit]
    return list(ids[np.sort(drawn)])


def split_halves(tracks: Sequence[str], seed: int) -> np.ndarray:
    """Which clips `[n]` (True) are the reference half, given each clip's track: tracks are never divided.

    Tracks are taken in a seeded order until they have half of the clips; each half has at least a third of the tracks,
    however long one of them is. The order of the clips does not matter. Raises UserError for fewer than two tracks.
    """
    labels = np.array([str(track) for track in tracks])
    names, counts = np.unique(labels, return_counts=True)
    if len(names) < 2:
        raise UserError(
            f"test split: {len(names)} track; scores need a reference half and another of different tracks: add tracks, "
            "or raise data.folder.test_fraction"
        )
    order = np.random.default_rng(seed).permutation(len(names))
    before = np.cumsum(counts[order]) - counts[order]
    # A track is taken while that brings the half nearer to half of the clips.
    taken = (before + counts[order] / 2) <= len(labels) / 2
    third = -(-len(names) // 3)
    taken[:third], taken[-third:] = True, False
    return np.isin(labels, names[order[taken]])


def from_few_groups(ids: Sequence[str], pool: Mapping[str, str], seed: int) -> dict[str, str]:
    """A different clip of the pool (id → group, such as its genre) for each of `ids`, from a quarter of the groups.

    Groups and clips are drawn by seed. Raises UserError where there are too few of either.
    """
    groups = sorted(set(pool.values()))
    if len(groups) < 2:
        raise UserError(f"{len(groups)} genre among {len(pool)} training clips: a part of them needs at least 2")
    rng = np.random.default_rng(seed)
    chosen = {groups[i] for i in rng.permutation(len(groups))[: max(1, len(groups) // 4)]}
    clips = sorted(clip for clip, group in pool.items() if group in chosen)
    if len(clips) < len(ids):
        raise UserError(f"{len(clips)} training clips of {', '.join(sorted(chosen))}: {len(ids)} are needed; add some")
    drawn = rng.permutation(len(clips))[: len(ids)]
    return {clip: clips[i] for clip, i in zip(sorted(ids), drawn, strict=True)}
