"""Clips: compose and render them, import a folder or MTG-Jamendo, stream a data set, or fetch MusicCaps; rejected ones are listed with their reasons."""

from collections.abc import Iterator
from pathlib import Path

from musicgen_lite.compute import Engine, choose_plain
from musicgen_lite.errors import UserError
from musicgen_lite.io.clips import SPLITS, Clip, ClipWriter
from musicgen_lite.io.files import atomic_dir, write_json
from musicgen_lite.io.progress import track
from musicgen_lite.params import DataParams, Params
from musicgen_lite.sources import folder, hub, jamendo, musiccaps, rejected, synthetic
from musicgen_lite.sources.duplicates import drop_leaked
from musicgen_lite.sources.fetch import Fetcher
from musicgen_lite.sources.splits import check_tests
from musicgen_lite.sources.tables import Reject
from stages.runtime import CLIPS, root, run

REJECTED = "checkpoints/rejected.json"  # of a run that failed because too few clips were usable


def composed(data: DataParams, engine: Engine) -> Iterator[Clip]:
    """The synthetic corpus, split by split."""
    cfg = data.synthetic
    return synthetic.corpus(cfg.seed, (cfg.train, cfg.validation, cfg.test), data.seconds, data.rate, engine)


def imported(data: DataParams, reject: Reject, engine: Engine) -> Iterator[Clip]:
    """The clips of a folder of audio."""
    cfg = data.folder
    path = folder.locate(cfg, root())
    fractions = cfg.validation_fraction, cfg.test_fraction
    clips = folder.clips(path, data.rate, data.seconds, *fractions, reject, shortest=data.shortest, engine=engine)
    yield from track(clips, "import clips", unit="clip")


def of_jamendo(data: DataParams, reject: Reject, engine: Engine) -> Iterator[Clip]:
    """The clips of a local copy of MTG-Jamendo."""
    cfg = data.jamendo
    place = jamendo.locate(cfg, root())
    clips = jamendo.clips(place, data.rate, data.seconds, cfg.clips_per_track, reject, data.shortest, engine)
    yield from track(clips, "import clips", unit="clip")


def streamed(data: DataParams, reject: Reject, engine: Engine) -> Iterator[Clip]:
    """The clips of a data set that the datasets library reads."""
    clips = hub.clips(hub.locate(data.hub, root()), data.hub, data.rate, data.seconds, reject, data.shortest, engine)
    yield from track(clips, "stream clips", unit="clip")


def fetched(data: DataParams, reject: Reject, engine: Engine) -> Iterator[Clip]:
    """The clips of MusicCaps. The cache is in the main repository, so that all experiments share it."""
    cfg = data.musiccaps
    cache, table = root() / Path(cfg.cache).expanduser(), musiccaps.locate(cfg, root())
    fetcher = Fetcher(cache, cfg.url, cfg.workers, cfg.pause_s, cfg.attempts, cfg.options, cfg.retry_gone)
    split = cfg.validation_fraction, cfg.split_seed
    clips = musiccaps.clips(table, fetcher, data.rate, data.seconds, *split, reject, data.shortest, engine)
    yield from track(clips, "fetch clips", unit="clip")


def main(params: Params) -> None:
    data = params.data
    engine = choose_plain(params.compute, processes=data.source == "synthetic")
    rejections: list[dict[str, str]] = []

    def reject(name: str, reason: str) -> None:
        rejections.append({"id": name, "reason": reason})

    match data.source:
        case "synthetic":
            clips = composed(data, engine)
        case "folder":
            clips = imported(data, reject, engine)
        case "musiccaps":
            clips = fetched(data, reject, engine)
        case "jamendo":
            clips = of_jamendo(data, reject, engine)
        case "hub":
            clips = streamed(data, reject, engine)
    with atomic_dir(CLIPS) as part:
        writer = ClipWriter(part)
        counts = dict.fromkeys(SPLITS, 0)
        test_tracks: list[str] = []
        for clip in drop_leaked(clips, reject):
            writer.add(clip)
            counts[clip.split] += 1
            if clip.split == "test":
                test_tracks.append(clip.track_id)
        writer.close(rejections)
        enough = writer.count >= data.min_available and all(counts.values()) and len(set(test_tracks)) >= 2
        print(f"clips: {counts}, rejected: {len(rejections)}")
        for line in rejected.lines(rejections, f"{CLIPS}/rejected.json" if enough else REJECTED):
            print(line)
        if not enough:
            write_json(root() / REJECTED, rejections)
            raise UserError(
                f"data.source {data.source}: {counts} usable clips, {len(rejections)} rejected (listed in {REJECTED}), "
                f"{len(set(test_tracks))} test track(s); each split needs at least one clip, the test split two tracks, of which "
                f"one is the reference of the other, and all together data.min_available ({data.min_available}). "
                f"{rejected.advice(data.source, rejections, data.musiccaps.url)}"
            )
        check_tests(test_tracks)


if __name__ == "__main__":
    run(main)
