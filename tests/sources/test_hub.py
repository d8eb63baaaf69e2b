"""Data sets by the `datasets` library: local Parquet, AudioFolder and WebDataset tars, streamed; what cannot be used is named."""

import io
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from musicgen_lite.errors import UserError
from musicgen_lite.io.clips import SPLITS, Clip
from musicgen_lite.params_data import HubParams
from musicgen_lite.sources import hub
from tests.support.hub_datasets import COUNT, RATE, audiofolder, parquet, rows, wav, webdataset
from tests.support.no_hub import refusal


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    pytest.importorskip("datasets", reason="the package datasets is not installed (make env)")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))


def params(name: str, **changes: Any) -> HubParams:
    shipped = {
        "name": name, "revision": "", "split": "train", "audio": "audio", "text": "text", "validation_fraction": 0.2,
        "test_fraction": 0.3,
    }  # fmt: skip
    return HubParams.model_validate(shipped | changes)


def gather(place: Path, name: str = "set", **changes: Any) -> tuple[list[Clip], dict[str, str]]:
    rejected: dict[str, str] = {}
    cfg = params(name, **changes)
    clips = hub.clips(hub.locate(cfg, place), cfg, RATE, 1.0, lambda name, reason: rejected.update({name: reason}))
    return list(clips), rejected


def pitch(clip: Clip) -> int:
    return int(np.argmax(np.abs(np.fft.rfft(clip.samples))))


LAYOUTS: dict[str, tuple[Callable[[Path], Path], dict[str, str]]] = {
    "parquet": (lambda folder: parquet(folder, rows()), {}),
    "parquet of bytes and paths": (lambda folder: parquet(folder, rows(), typed=False), {}),
    "audiofolder": (audiofolder, {}),
    "webdataset": (webdataset, {"audio": "wav", "text": "txt"}),
    "webdataset with json": (webdataset, {"audio": "wav", "text": "json.caption"}),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_row_becomes_clips_with_its_own_caption(tmp_path: Path, layout: str) -> None:
    make, changes = LAYOUTS[layout]
    make(tmp_path / "set")
    clips, rejected = gather(tmp_path, **changes)
    assert rejected == {}
    assert len(clips) == 2 * COUNT  # of 2.6 s each
    assert {(clip.caption, pitch(clip)) for clip in clips} == {(f"Caption {n}.", 200 + 20 * n) for n in range(COUNT)}
    assert {clip.split for clip in clips} == set(SPLITS)
    assert len({clip.track_id for clip in clips}) == COUNT
    assert all(len({other.split for other in clips if other.track_id == clip.track_id}) == 1 for clip in clips)


def test_a_row_that_goes_moves_no_other_and_equal_audio_is_one_track(tmp_path: Path) -> None:
    given = rows()
    parquet(tmp_path / "set", given)
    before = {clip.caption: clip.split for clip in gather(tmp_path)[0]}
    parquet(tmp_path / "set", [*given[3:], {**given[5], "text": "The same again."}])
    clips, _ = gather(tmp_path)
    after = {clip.caption: clip.split for clip in clips}
    assert {caption: split for caption, split in after.items() if caption in before}.items() <= before.items()
    assert len({clip.track_id for clip in clips if clip.caption in ("Caption 5.", "The same again.")}) == 1


def test_its_own_splits_are_kept_where_none_is_named(tmp_path: Path) -> None:
    for number, split in enumerate(SPLITS):
        parquet(tmp_path / "set", rows(10 * number, 3), split)
    clips, _ = gather(tmp_path, split="")
    assert {split: {clip.caption for clip in clips if clip.split == split} for split in SPLITS} == {
        split: {f"Caption {10 * number + k}." for k in range(3)} for number, split in enumerate(SPLITS)
    }


def test_a_bad_row_is_named_and_the_others_are_used(tmp_path: Path) -> None:
    outside = tmp_path / "outside.wav"
    outside.write_bytes(wav(99))
    bad: list[tuple[dict[str, Any], str]] = [
        ({"audio": {"bytes": b"no audio", "path": "x.wav"}, "text": "x"}, "not audio"),
        ({"audio": {"bytes": wav(1, 0.2), "path": "x.wav"}, "text": "x"}, "too short"),
        ({"audio": {"bytes": wav(2), "path": "x.wav"}, "text": " "}, "caption: empty"),
        ({"audio": {"bytes": wav(2), "path": "x.wav"}, "text": None}, "caption: empty"),
        ({"audio": None, "text": "x"}, "audio: none in this row"),
        ({"audio": {"bytes": None, "path": str(outside)}, "text": "x"}, "file: "),
        ({"audio": {"bytes": None, "path": f"{tmp_path}/set/../outside.wav"}, "text": "x"}, "file: "),
        ({"audio": {"bytes": None, "path": f"{tmp_path}/set/gone.wav"}, "text": "x"}, "file: "),
    ]
    parquet(tmp_path / "set", [*(one for one, _ in bad), *rows()])
    clips, rejected = gather(tmp_path)
    assert {clip.caption for clip in clips} == {f"Caption {n}." for n in range(COUNT)}
    assert list(rejected) == [f"train row {number}" for number in range(1, len(bad) + 1)]
    for (_, reason), said in zip(bad, rejected.values(), strict=True):
        assert said.startswith(reason)
    assert [said for said in rejected.values() if "leads outside of the data set" in said] == list(rejected.values())[
        5:7
    ]


@pytest.mark.parametrize("format", ["MP3", "OGG", "FLAC"])
def test_any_format_is_known_by_its_content(tmp_path: Path, format: str) -> None:
    buffer = io.BytesIO()
    samples, rate = soundfile.read(io.BytesIO(wav(7)))
    soundfile.write(buffer, samples, rate, format=format)
    parquet(tmp_path / "set", [{"audio": {"bytes": buffer.getvalue(), "path": None}, "text": "x"}])
    clips, rejected = gather(tmp_path)
    assert rejected == {}
    assert [pitch(clip) for clip in clips] == [340, 340]


def test_audio_of_a_folder_may_lie_in_an_archive(tmp_path: Path) -> None:
    audiofolder(tmp_path / "made")
    (tmp_path / "set").mkdir()
    shutil.make_archive(str(tmp_path / "set" / "train"), "zip", tmp_path / "made" / "train")
    clips, rejected = gather(tmp_path)
    assert rejected == {}
    assert len(clips) == 2 * COUNT


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"audio": "sound"}, r"data\.hub\.audio: set has no column 'sound'; found audio, text"),
        ({"text": "caption"}, r"data\.hub\.text: set has no column 'caption'; found audio, text"),
        ({"split": "dev"}, r"data\.hub\.split: set: Bad split: dev\. Available splits: \['train'\]"),
        ({"split": ""}, r"data\.hub\.split: set: Bad split: validation.*needs its own train, validation and test"),
    ],
)
def test_a_column_or_split_that_is_missing_is_named_with_those_that_are_there(
    tmp_path: Path, changes: dict[str, str], message: str
) -> None:
    parquet(tmp_path / "set", rows(count=4))
    with pytest.raises(UserError, match=message):
        gather(tmp_path, **changes)


def test_a_data_set_that_is_not_there_or_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    for name, message in (
        ("", r"data\.hub\.name: empty; name a data set of the hub"),
        ("./gone", r"data\.hub\.name: \./gone: no such folder"),
        ("set", r"data\.hub\.name: set: the datasets library cannot read it"),
    ):
        with pytest.raises(UserError, match=message):
            gather(tmp_path, name)
    (tmp_path / "set" / "train-00000.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(UserError, match=r"data\.hub\.name: set: "):
        gather(tmp_path)


def test_a_stream_that_breaks_off_is_an_error_with_its_last_row(tmp_path: Path) -> None:
    webdataset(tmp_path / "set")
    second = tmp_path / "set" / "train-001.tar"
    second.write_bytes(second.read_bytes()[: second.stat().st_size // 2])
    with pytest.raises(UserError, match=r"data\.hub\.name: set: train cannot be read on after row (2|3)\d \("):
        gather(tmp_path, audio="wav", text="txt")


@pytest.mark.slow
def test_without_a_hub_it_says_so(tmp_path: Path) -> None:
    imports = "import datasets\nfrom pathlib import Path\nfrom tests.sources.test_hub import gather"
    _, message = refusal(tmp_path, imports, f"gather(Path({str(tmp_path)!r}), 'owner/name')")
    assert "data.hub.name: the hub did not give 'owner/name' at revision 'main'" in message


def test_the_library_is_named_where_it_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r'data\.source hub needs the package datasets .*"musicgen-lite\[hub\]"'):
        hub.locate(params("owner/name"), tmp_path)


def test_a_changed_file_is_in_the_digest(tmp_path: Path) -> None:
    parquet(tmp_path / "set", rows(count=4))
    place = hub.locate(params("set"), tmp_path)
    before = hub.digest(place)
    os.utime(tmp_path / "set" / "train-00000.parquet", ns=(1, 1))
    assert hub.digest(place) != before
    assert hub.digest(hub.Place("o/n", "a", None)) != hub.digest(hub.Place("o/n", "b", None))
