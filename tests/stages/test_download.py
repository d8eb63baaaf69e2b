"""The stages check and download on outside sources: what lands where, and what stops them."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import soundfile

from musicgen_lite.errors import UserError
from musicgen_lite.io.clips import ClipStore
from stages import check, download
from tests.support import hub_datasets, jamendo_tables
from tests.support.musiccaps_tables import marked, row, wav, write_table
from tests.support.server import Server
from tests.support.stage_params import parameters


def of_videos(server: Server) -> dict[str, Any]:
    """The parameters that fetch the videos of table.csv from a server."""
    return {
        "source": "musiccaps", "musiccaps__csv": "table.csv", "musiccaps__url": server.url + "/{ytid}.wav",
        "musiccaps__pause_s": 0.0, "musiccaps__validation_fraction": 0.3,
    }  # fmt: skip


def sound(name: str) -> bytes:
    """Four seconds that no other name has."""
    return wav(marked(4) * (0.5 + int(name.removeprefix("-v").removesuffix(".wav")) / 100))


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("ffmpeg") is None, reason="the program ffmpeg is not installed (apt-get install ffmpeg)"
)
def test_musiccaps_from_table_to_clips(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("yt_dlp", reason="the package yt-dlp is not installed (make env)")
    (place / "repository").mkdir()
    rows = [row(f"-v{n}", 1, 3, f"Caption {n}.", held_out=n < 6) for n in range(20)]
    write_table(place / "repository" / "table.csv", rows)
    with Server(lambda name: 404 if name == "-v3.wav" else sound(name)) as server:
        changes = of_videos(server)
        chosen = parameters(**changes)
        check.main(chosen)
        assert json.loads(Path("data/external/source.json").read_text()).keys() == {"source", "digest"}
        download.main(chosen)
        assert "rejected, gone: 1" in capsys.readouterr().out
        clips = ClipStore("data/clips")
        assert len(clips) == 19
        assert len(clips.split("test")) == 5
        assert clips.index.set_index("track_id")["caption"]["-v7"] == "Caption 7."
        ((one,),) = (clips.rejected,)
        assert one["id"] == "table.csv row 5 (-v3)"
        assert "404" in one["reason"]
        # The cache is the repository's, so that another experiment asks for nothing.
        assert len(list((place / "repository/cache/musiccaps").glob("*.flac"))) == 19
        asked = server.requests.total()
        with pytest.raises(UserError, match=r"data\.min_available \(20\)"):
            download.main(parameters(**changes, min_available=20))
        assert server.requests.total() == asked
        assert len(ClipStore("data/clips")) == 19  # what was there stays whole


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("ffmpeg") is None, reason="the program ffmpeg is not installed (apt-get install ffmpeg)"
)
@pytest.mark.parametrize("answer", [404, b"<html>Before you continue</html>"])
def test_an_address_that_fails_for_all_writes_off_none(
    place: Path, capsys: pytest.CaptureFixture[str], answer: int | bytes
) -> None:
    pytest.importorskip("yt_dlp", reason="the package yt-dlp is not installed (make env)")
    (place / "repository").mkdir()
    rows = [row(f"-v{n}", 1, 3, f"Caption {n}.", held_out=n < 6) for n in range(40)]
    write_table(place / "repository" / "table.csv", rows)
    with Server(lambda name: sound(name) if name.endswith(".wav") else answer) as server:
        changes = of_videos(server)
        wrong = server.url + "/page/{ytid}"
        with pytest.raises(UserError, match="The last 30 failed") as error:
            download.main(parameters(**changes | {"musiccaps__url": wrong}))
        said = str(error.value)
        assert f"see whether data.musiccaps.url ({wrong}) is right" in said
        assert "data.folder" not in said
        assert server.requests.total() <= 2 * (30 + 4)  # an address is asked for its headers as well
        listed = json.loads((place / "repository" / "checkpoints" / "rejected.json").read_text())
        assert len(listed) == 40
        assert "rejected, not tried: " in capsys.readouterr().out
        assert not list((place / "repository/cache/musiccaps").iterdir())
        download.main(parameters(**changes))
    assert len(ClipStore("data/clips")) == 40


def test_jamendo_from_tables_to_clips(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    jamendo_tables.whole(place / "repository")
    changes = {"source": "jamendo", "jamendo__tables": "tables", "jamendo__audio": "audio"}
    check.main(parameters(**changes))
    before = Path("data/external/source.json").read_text()
    download.main(parameters(**changes))
    assert ClipStore("data/clips").index["split"].value_counts().to_dict() == {"train": 12, "validation": 4, "test": 8}
    (place / "repository/audio/01/1.mp3").unlink()
    check.main(parameters(**changes))
    assert Path("data/external/source.json").read_text() != before
    with pytest.raises(
        UserError, match=r"See whether data\.jamendo\.audio and data\.jamendo\.suffix fit the names"
    ) as error:
        download.main(parameters(**changes, jamendo__suffix="_instrumental.mp3"))
    assert "musiccaps" not in str(error.value)
    assert "rejected, file: 24" in capsys.readouterr().out
    assert len(ClipStore("data/clips")) == 24  # what was there stays whole


def test_a_data_set_from_parquet_to_clips(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("datasets", reason="the package datasets is not installed (make env)")
    folder = hub_datasets.parquet(
        place / "repository/set", [*hub_datasets.rows(), {"audio": {"bytes": b"none", "path": "x.wav"}, "text": "x"}]
    )
    changes = {"source": "hub", "hub__name": "set", "hub__validation_fraction": 0.2, "hub__test_fraction": 0.3}
    check.main(parameters(**changes))
    before = Path("data/external/source.json").read_text()
    download.main(parameters(**changes))
    assert len(ClipStore("data/clips")) == hub_datasets.COUNT
    assert "rejected, not audio: 1" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"data\.hub\.text: set has no column 'caption'; found audio, text"):
        download.main(parameters(**changes, hub__text="caption"))
    with pytest.raises(UserError, match=r"data\.min_available \(1000\)\. Change data\.hub\.split"):
        download.main(parameters(**changes, min_available=1000))
    assert len(ClipStore("data/clips")) == hub_datasets.COUNT  # what was there stays whole
    hub_datasets.parquet(folder, hub_datasets.rows(count=30))
    check.main(parameters(**changes))
    assert Path("data/external/source.json").read_text() != before


def test_what_to_do_about_too_few_clips_follows_their_source(place: Path) -> None:
    music = place / "music"
    music.mkdir()
    for number in range(6):
        soundfile.write(music / f"{number}.wav", marked(1.5) * (0.5 + number / 10), 8000)
    (music / "metadata.csv").write_text("file_name,caption\n" + "".join(f"{number}.wav,x\n" for number in range(6)))
    (place / "repository").mkdir()
    with pytest.raises(
        UserError, match=r"6 are too short: data\.min_seconds keeps shorter clips\. Add tracks"
    ) as error:
        download.main(parameters(source="folder", folder__path=str(music), min_available=6))
    assert "musiccaps" not in str(error.value)
    assert len(json.loads((place / "repository" / "checkpoints" / "rejected.json").read_text())) == 6
    download.main(
        parameters(
            source="folder", folder__path=str(music), folder__test_fraction=0.7, min_available=6, min_seconds=1.0
        )
    )
    assert set(ClipStore("data/clips").index["seconds"]) == {1.5}
