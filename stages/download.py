"""Clips: compose and render them, import a folder or MTG-Jamendo, stream a data set, or fetch MusicCaps; rejected ones are listed with their reasons."""

from collections.abc import Iterator
from pathlib import Path

from musicgen_lite.compute import Engine, choose_plain
from musicgen_lite.errors import UserError
from musicgen_lite.io.clips import SPLITS, Clip, ClipWriter
from musicgen_lite.io.files import write_json
from musicgen_lite.io.progress import track
from musicgen_lite.io.work import resumable_dir
from musicgen_lite.params import DataParams, Params
from musicgen_lite.sources import folder, hub, jamendo, musiccaps, rejected, synthetic
from musicgen_lite.sources.duplicates import drop_leaked
from musicgen_lite.sources.fetch import Fetcher
from musicgen_lite.sources.resume import Begun
from musicgen_lite.sources.splits import check_tests
from musicgen_lite.sources.tables import Reject
from stages.runtime import CLIPS, root, run, work_dir

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


def source(data: DataParams, reject: Reject, engine: Engine) -> Iterator[Clip]:
    """The clips of the source that is named."""
    match data.source:
        case "synthetic":
            return composed(data, engine)
        case "folder":
            return imported(data, reject, engine)
        case "musiccaps":
            return fetched(data, reject, engine)
        case "jamendo":
            return of_jamendo(data, reject, engine)
        case "hub":
            return streamed(data, reject, engine)


def noting(rejections: list[dict[str, str]]) -> Reject:
    """Appends the `id` and `reason` of what is rejected."""
    return lambda name, reason: rejections.append({"id": name, "reason": reason})


def main(params: Params) -> None:
    data = params.data
    rejections: list[dict[str, str]] = []
    with resumable_dir(CLIPS, work_dir("download", params)) as part:
        begun = Begun(part, choose_plain(params.compute, processes=data.source == "synthetic"))
        clips = begun.clips(source(data, begun.rejecting(noting(rejections)), begun))
        writer = ClipWriter(part, begun.shards)
        counts = dict.fromkeys(SPLITS, 0)
        test_tracks: list[str] = []
        for number, clip in enumerate(drop_leaked(clips, noting(begun.leaked))):
            # What could not be fetched is asked for again, and what was fetched is kept by its source.
            if number >= writer.begun and writer.add(clip) and data.source != "musiccaps":
                begun.save(writer.shards)
            counts[clip.split] += 1
            if clip.split == "test":
                test_tracks.append(clip.track_id)
        rejections += begun.leaked
        writer.close(rejections)
        begun.close()
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
