"""Clips: compose and render them, import a folder, or fetch MusicCaps; whatever is rejected is written down."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from musicgen_lite.errors import UserError
from musicgen_lite.params import DataParams, Params
from musicgen_lite.progress import track
from musicgen_lite.sources import folder, musiccaps, synthetic
from musicgen_lite.sources.clips import SPLITS, Clip, ClipWriter
from musicgen_lite.sources.fetch import Fetcher
from musicgen_lite.sources.tables import Reject
from musicgen_lite.store import atomic_dir
from stages.common import CLIPS, root, run
from stages.outside import folder_path, table_path

# Splits of the composed corpus lie this far apart in seeds, so that they never share one.
SPLIT_STRIDE = 2_000_000
SHOWN = 20


def composed(data: DataParams, workers: int) -> Iterator[Clip]:
    """The synthetic corpus, split by split."""
    counts = (data.synthetic.train, data.synthetic.validation, data.synthetic.test)
    for number, (split, count) in enumerate(zip(SPLITS, counts, strict=True)):
        first = data.synthetic.seed + number * SPLIT_STRIDE
        clips = synthetic.clips(first, count, split, data.seconds, data.rate, workers=workers)
        yield from track(clips, f"compose {split}", total=count, unit="clip")


def imported(data: DataParams, reject: Reject) -> Iterator[Clip]:
    """The clips of an outside folder."""
    own = data.folder
    path = folder_path(own)
    clips = folder.clips(path, data.rate, data.seconds, own.validation_fraction, own.test_fraction, reject)
    yield from track(clips, "import clips", unit="clip")


def fetched(data: DataParams, reject: Reject) -> Iterator[Clip]:
    """The clips of MusicCaps. The cache lies in the repository that experiments belong to, so that all share it."""
    own = data.musiccaps
    cache = root() / Path(own.cache).expanduser()
    fetcher = Fetcher(cache, own.url, own.workers, own.pause_s, own.attempts, own.options)
    clips = musiccaps.clips(
        table_path(own), fetcher, data.rate, data.seconds, own.validation_fraction, own.split_seed, reject
    )
    yield from track(clips, "fetch clips", unit="clip")


def show(rejected: list[dict[str, str]]) -> None:
    """How many were rejected for which kind of reason, and the first of them."""
    for kind, count in Counter(row["reason"].split(":")[0] for row in rejected).most_common():
        print(f"  rejected, {kind}: {count}")
    for row in rejected[:SHOWN]:
        print(f"  rejected {row['id']}: {row['reason']}")
    if len(rejected) > SHOWN:
        print(f"  and {len(rejected) - SHOWN} more in {CLIPS}/rejected.json")
    if any(row["reason"].startswith(("not fetched", "not tried")) for row in rejected):
        print(
            "  what was not fetched may be there later: `dvc repro --force --single-item download` tries only that again"
        )


def main(params: Params) -> None:
    data = params.data
    rejected: list[dict[str, str]] = []

    def reject(name: str, reason: str) -> None:
        rejected.append({"id": name, "reason": reason})

    match data.source:
        case "synthetic":
            clips = composed(data, workers=params.compute.threads or os.cpu_count() or 1)
        case "folder":
            clips = imported(data, reject)
        case "musiccaps":
            clips = fetched(data, reject)
    with atomic_dir(CLIPS) as part:
        writer = ClipWriter(part)
        counts = dict.fromkeys(SPLITS, 0)
        test_tracks = set()
        for clip in clips:
            writer.add(clip)
            counts[clip.split] += 1
            if clip.split == "test":
                test_tracks.add(clip.track_id)
        writer.close(rejected)
        print(f"clips: {counts}, rejected: {len(rejected)}")
        show(rejected)
        if writer.count < data.min_available or not all(counts.values()) or len(test_tracks) < 2:
            raise UserError(
                f"data.source {data.source}: {counts} usable clips, {len(rejected)} rejected, {len(test_tracks)} test "
                "track(s); each split needs at least one clip, the test split two tracks, of which one is the reference "
                f"of the other, and all together data.min_available ({data.min_available}). Add tracks, set the column "
                "split, or change data.folder.test_fraction or data.min_available"
            )


if __name__ == "__main__":
    run(main)
