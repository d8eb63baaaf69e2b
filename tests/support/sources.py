"""One small corpus of each source that reads files, with bad ones among them, and an engine that is elsewhere."""

import pickle
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from musicgen_lite.compute import Engine
from musicgen_lite.io.clips import Clip, ClipWriter
from musicgen_lite.params_data import HubParams, JamendoParams
from musicgen_lite.sources import folder, hub, jamendo, musiccaps
from musicgen_lite.sources.duplicates import drop_leaked
from musicgen_lite.sources.fetch import Fetcher
from musicgen_lite.sources.tables import Reject
from tests.support import hub_datasets, jamendo_tables
from tests.support.musiccaps_tables import marked, row, wav, write_table

RATE, SECONDS = 8000, 1.0
JAMENDO = {
    "tables": "tables", "subset": "autotagging", "audio": "audio", "suffix": ".mp3", "captions": "", "clips_per_track": 0,
}  # fmt: skip
HUB = {
    "name": "set", "revision": "", "split": "train", "audio": "audio", "text": "text", "validation_fraction": 0.2,
    "test_fraction": 0.3,
}  # fmt: skip


class Elsewhere:
    """An engine that takes some pieces ahead, and gives what another process would: work, pieces and results are pickled."""

    here, device, ahead = False, "cpu", 3

    def map(self, work: Any, pieces: Iterable[Any]) -> Iterator[Any]:
        work, pieces = _sent(work), iter(pieces)
        while some := list(islice(pieces, self.ahead)):
            yield from [_sent(work.compute(work.read(_sent(piece)))) for piece in some]


def _sent(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


def write(place: Path) -> Path:
    """The corpora; of each some files are silent, no audio, or break off."""
    music = place / "music"
    music.mkdir(parents=True)
    for number in range(5):
        soundfile.write(music / f"{number}.wav", marked(5.5) * (0.5 + number / 20), RATE)
    soundfile.write(music / "silent.flac", np.zeros(3 * RATE), RATE)
    soundfile.write(music / "other.mp3", marked(3.3, 22050), 22050)
    (music / "text.wav").write_bytes(b"no audio at all")
    soundfile.write(music / "cut.flac", np.random.default_rng(0).uniform(-0.3, 0.3, 6 * RATE), RATE)
    data = (music / "cut.flac").read_bytes()
    (music / "cut.flac").write_bytes(data[: len(data) // 2])
    names = ["0.wav", "text.wav", "1.wav", "cut.flac", "2.wav", "silent.flac", "3.wav", "4.wav", "other.mp3"]
    (music / "metadata.csv").write_text("file_name,caption\n" + "".join(f"{name},Music.\n" for name in names))

    jamendo_tables.whole(place)
    (place / "audio/05/5.mp3").write_bytes(b"no audio at all")
    rows = hub_datasets.rows(count=12)
    rows[3:3] = [{"audio": {"bytes": b"none", "path": "x.wav"}, "text": "x"}, rows[0] | {"text": ""}]
    hub_datasets.parquet(place / "set", rows)
    write_table(place / "videos.csv", [row(f"v{number}", 0, 2, held_out=number < 3) for number in range(8)])
    (place / "cache").mkdir()
    for number in range(8):  # all of them are there, or known to be gone: nothing is asked for
        if number == 4:
            (place / "cache/yt_v4_0-2.gone").write_text("removed by its owner")
        else:
            (place / f"cache/yt_v{number}_0-2.flac").write_bytes(wav(marked(2.2) * (0.4 + number / 20)))
    return place


def clips(place: Path, engine: Engine, reject: Reject) -> Iterator[tuple[str, Iterator[Clip]]]:
    """The clips of each source by its name."""
    cut = RATE, SECONDS
    yield "folder", folder.clips(place / "music", *cut, 0.1, 0.1, reject, lambda line: None, engine=engine)
    tracks = jamendo.locate(JamendoParams.model_validate(JAMENDO), place)
    yield "jamendo", jamendo.clips(tracks, *cut, 0, reject, engine=engine)
    params = HubParams.model_validate(HUB)
    yield "hub", hub.clips(hub.locate(params, place), params, *cut, reject, engine=engine)
    fetcher = Fetcher(place / "cache", "http://127.0.0.1:1/{ytid}", workers=2, pause_s=0.0, attempts=1)
    yield "musiccaps", musiccaps.clips(place / "videos.csv", fetcher, *cut, 0.3, 0, reject, engine=engine)


def imported(place: Path, engine: Engine, out: Path) -> dict[str, bytes]:
    """Every file that the stage would write, source by source."""
    rejected: list[dict[str, str]] = []

    def reject(name: str, reason: str) -> None:
        rejected.append({"id": name, "reason": reason})

    for name, found in clips(place, engine, reject):
        (out / name).mkdir(parents=True)
        writer = ClipWriter(out / name)
        for clip in drop_leaked(found, reject):
            writer.add(clip)
        writer.close(rejected)
        rejected.clear()
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*.*")}
