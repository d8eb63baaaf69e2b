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
from stages.runtime import CLIPS, root, run

SHOWN = 20


def composed(data: DataParams, workers: int) -> Iterator[Clip]:
    """The synthetic corpus, split by split."""
    cfg = data.synthetic
    return synthetic.corpus(cfg.seed, (cfg.train, cfg.validation, cfg.test), data.seconds, data.rate, workers)


def imported(data: DataParams, reject: Reject) -> Iterator[Clip]:
    """The clips of an outside folder."""
    cfg = data.folder
    path = folder.locate(cfg, root())
    clips = folder.clips(path, data.rate, data.seconds, cfg.validation_fraction, cfg.test_fraction, reject)
    yield from track(clips, "import clips", unit="clip")


def fetched(data: DataParams, reject: Reject) -> Iterator[Clip]:
    """The clips of MusicCaps. The cache lies in the repository that experiments belong to, so that all share it."""
    cfg = data.musiccaps
    cache, table = root() / Path(cfg.cache).expanduser(), musiccaps.locate(cfg, root())
    fetcher = Fetcher(cache, cfg.url, cfg.workers, cfg.pause_s, cfg.attempts, cfg.options)
    clips = musiccaps.clips(table, fetcher, data.rate, data.seconds, cfg.validation_fraction, cfg.split_seed, reject)
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
