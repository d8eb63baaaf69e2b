"""Which test clips are the reference, and which are generated for."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from musicgen_lite.errors import UserError
from musicgen_lite.io.clips import Clip, ClipStore, ClipWriter
from musicgen_lite.sources.splits import EVALUATION_SEED, check_tests, few_tracks, halves, split_halves


def store(folder: Path, counts: Mapping[str, int]) -> ClipStore:
    """A corpus of test clips, so many of each track, one track after another."""
    folder.mkdir(exist_ok=True)
    writer = ClipWriter(folder)
    for track, count in counts.items():
        for number in range(count):
            wave = np.full(800, 0.1, np.float32)
            writer.add(Clip(f"{track}-{number:03d}", track, "test", f"Music of {track}.", (), wave, 8000, {}))
    writer.close()
    return ClipStore(folder)


def test_prompts_are_spread_over_the_tracks(tmp_path: Path) -> None:
    """As in a folder of recordings: a long file first, which alone would fill the prompts."""
    clips = store(tmp_path, {f"t{n}": 60 if n % 3 == 0 else 2 + n for n in range(12)})
    reference, prompted = halves(clips, 25)
    tracks = clips.split("test")["track_id"]
    others = sorted(set(tracks) - set(reference["track_id"]))
    counts = prompted["track_id"].value_counts()
    assert sorted(counts.index) == others
    assert len(prompted) == 25
    held = tracks.value_counts()[others]
    full = counts[counts < held[counts.index]]  # tracks that could have given more
    assert full.max() - full.min() <= 1
    assert (counts <= full.max()).all()
    assert prompted.index.is_monotonic_increasing  # stored order
    assert len(halves(clips, 10_000)[1]) == len(tracks) - len(reference)


@pytest.mark.parametrize("limit", [4, 9, 64])
def test_of_tracks_of_one_clip_the_first_are_generated_for(tmp_path: Path, limit: int) -> None:
    """The composed corpus: the same clips in the same order as ever, so that all results compare."""
    clips = store(tmp_path, {f"syn-{n:08d}": 1 for n in range(128)})
    rows = clips.split("test")
    taken = split_halves(rows["track_id"].tolist(), EVALUATION_SEED)
    reference, prompted = halves(clips, limit)
    assert reference["id"].tolist() == rows["id"][taken].tolist()
    assert prompted["id"].tolist() == rows["id"][~taken].tolist()[:limit]
    # The half as it was first drawn: half of a seeded order.
    order = np.random.default_rng(EVALUATION_SEED).permutation(128)
    assert np.flatnonzero(taken).tolist() == sorted(order[:64])


def test_few_tracks_are_said(tmp_path: Path) -> None:
    few, many = (
        store(tmp_path / "few", dict.fromkeys("abcd", 30)),
        store(tmp_path / "many", {f"t{n}": 1 for n in range(40)}),
    )
    said = few_tracks(*halves(few, 64))
    assert said.startswith(
        "FAD and KAD are between clips of 2 test tracks (the reference) and of 2 others: below 10 each"
    )
    assert few_tracks(*halves(many, 64)) == ""
    assert "20 test tracks (the reference) and of 4 others" in few_tracks(*halves(many, 4))


def test_a_half_of_one_clip_is_refused() -> None:
    with pytest.raises(UserError, match=r"test split: 10 clips of 2 tracks; .* two clips in each: add tracks"):
        check_tests(["a"] * 9 + ["b"])
    check_tests(["a", "a", "b", "b"])
