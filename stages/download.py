"""Clips: compose and render them, or import a folder; whatever is rejected is written down with its reason."""

import os
from collections.abc import Iterator

from musicgen_lite.errors import UserError
from musicgen_lite.params import DataParams, Params
from musicgen_lite.progress import track
from musicgen_lite.sources import folder, synthetic
from musicgen_lite.sources.clips import SPLITS, Clip, ClipWriter
from musicgen_lite.store import atomic_dir
from stages.check import folder_path
from stages.common import CLIPS, run

# Splits of the composed corpus lie this far apart in seeds, so that they never share one.
SPLIT_STRIDE = 2_000_000


def composed(data: DataParams, workers: int) -> Iterator[Clip]:
    """The synthetic corpus, split by split."""
    counts = (data.synthetic.train, data.synthetic.validation, data.synthetic.test)
    for number, (split, count) in enumerate(zip(SPLITS, counts, strict=True)):
        first = data.synthetic.seed + number * SPLIT_STRIDE
        clips = synthetic.clips(first, count, split, data.seconds, data.rate, workers=workers)
        yield from track(clips, f"compose {split}", total=count, unit="clip")


def main(params: Params) -> None:
    data = params.data
    rejected: list[dict[str, str]] = []
    if data.source == "synthetic":
        clips = composed(data, workers=params.compute.threads or os.cpu_count() or 1)
    else:
        own = data.folder
        imported = folder.clips(
            folder_path(own), data.rate, data.seconds, own.validation_fraction, own.test_fraction,
            reject=lambda name, reason: rejected.append({"id": name, "reason": reason}),
        )  # fmt: skip
        clips = track(imported, "import clips", unit="clip")
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
        for row in rejected[:20]:
            print(f"  rejected {row['id']}: {row['reason']}")
        if writer.count < data.folder.min_clips or not all(counts.values()) or len(test_tracks) < 2:
            raise UserError(
                f"data.source {data.source}: {counts} usable clips, {len(rejected)} rejected, {len(test_tracks)} test "
                "track(s); each split needs at least one clip, the test split two tracks, of which one is the reference "
                f"of the other, and all together data.folder.min_clips ({data.folder.min_clips}). Add tracks, set the "
                "column split, or raise data.folder.test_fraction"
            )


if __name__ == "__main__":
    run(main)
