"""A folder of audio on S3: imported as it would be from here, fetched once, and named where it cannot be read."""

import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from musicgen_lite.errors import UserError
from musicgen_lite.params_data import FolderParams
from musicgen_lite.sources import folder
from tests.support.clip_folders import RATE, gather, make, tone
from tests.support.stores import BUCKET, S3

ADDRESS = f"s3://{BUCKET}/my songs"
PARAMS = FolderParams(path=ADDRESS, validation_fraction=0.1, test_fraction=0.1)
FILES = ("a.wav", "b.flac", "deep/Björk é.wav", "d.ogg", "e.wav", "not named.wav")


@pytest.fixture
def music(tmp_path: Path) -> Path:
    """Five files and a table, and a file that it does not name."""
    (tmp_path / "music" / "deep").mkdir(parents=True)
    for number, name in enumerate(FILES):
        soundfile.write(tmp_path / "music" / name, tone(4.5, RATE, hz=300 + 50 * number), RATE)
    return make(tmp_path / "music", [f"{name},a tone" for name in FILES[:5]] + ["gone.wav,a tone"])


@pytest.fixture
def stored(music: Path, s3: S3) -> S3:
    for file in (one for one in music.rglob("*") if one.is_file()):
        upload(s3, file, file.relative_to(music).as_posix())
    return s3


def upload(s3: S3, file: Path, name: str) -> None:
    s3.client().upload_file(str(file), BUCKET, f"my songs/{name}")


def test_the_clips_are_those_of_the_same_folder_here(tmp_path: Path, music: Path, stored: S3) -> None:
    expected, rejected = gather(music)
    found, rejected_there = gather(folder.locate(PARAMS, tmp_path))
    assert len(found) == 10
    for clip, wanted in zip(found, expected, strict=True):
        assert (clip.id, clip.track_id, clip.split, clip.extra["file"]) == (
            wanted.id, wanted.track_id, wanted.split, wanted.extra["file"],
        )  # fmt: skip
        assert np.array_equal(clip.samples, wanted.samples)
    assert rejected_there == rejected == {"metadata.csv row 7 (gone.wav)": "file: no such file"}


def test_what_is_named_is_fetched_once_and_again_where_it_has_changed(tmp_path: Path, music: Path, stored: S3) -> None:
    place = folder.locate(PARAMS, tmp_path)
    assert sorted(path.name for path in place.iterdir() if path.name[0] != ".") == [
        "metadata.csv"
    ]  # check needs no more
    before = folder.digest(place)
    gather(place)
    assert not (place / "not named.wav").exists()
    kept = {name: (place / name).stat().st_ino for name in FILES[:5]}
    soundfile.write(music / "a.wav", tone(3, RATE), RATE)
    upload(stored, music / "a.wav", "a.wav")
    stored.client().delete_object(Bucket=BUCKET, Key="my songs/d.ogg")
    with (place / ".fetched.jsonl").open("a") as notes:
        notes.write('["b.flac", ["si')  # as a kill leaves it
    assert folder.digest(folder.locate(PARAMS, tmp_path)) != before
    clips, rejected = gather(place)
    assert len(clips) == 7
    assert rejected["metadata.csv row 5 (d.ogg)"] == "file: no such file"
    again = {name: (place / name).stat().st_ino for name in FILES[:5] if name != "d.ogg"}
    assert [name for name in again if again[name] != kept[name]] == ["a.wav"]
    assert not list(place.glob(".part-*"))
    assert folder.digest(place) == folder.digest(folder.locate(PARAMS, tmp_path))


def test_a_name_that_leads_out_of_the_folder_is_not_followed(tmp_path: Path, stored: S3, music: Path) -> None:
    stored.client().put_object(Bucket=BUCKET, Key="my songs/../../escaped.wav", Body=b"x")
    make(music, ["a.wav,x", "b.flac,x", "deep/Björk é.wav,x", "d.ogg,x", "../../escaped.wav,x"])
    upload(stored, music / "metadata.csv", "metadata.csv")
    _, rejected = gather(folder.locate(PARAMS, tmp_path))
    assert "leads outside the folder" in rejected["metadata.csv row 6 (../../escaped.wav)"]
    assert not list(tmp_path.rglob("escaped.wav"))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "s3://nowhere/x",
            r"data.folder.path s3://nowhere/x: it cannot be read \(FileNotFoundError: .*bucket does not exist",
        ),
        (f"s3://{BUCKET}/nothing", rf"data.folder.path s3://{BUCKET}/nothing: it cannot be read \(FileNotFoundError"),
        (f"s3://{BUCKET}/my songs/deep", r"deep: none of metadata.csv, metadata.jsonl there"),
        ("ftps3://x/y", r"data.folder.path ftps3://x/y: it cannot be read \(ValueError: Protocol not known"),
    ],
)
def test_an_address_that_cannot_be_read_is_named(tmp_path: Path, stored: S3, path: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        folder.locate(PARAMS.model_copy(update={"path": path}), tmp_path)


def test_a_server_that_is_not_there_or_gone_is_named_and_what_was_fetched_stays(
    tmp_path: Path, stored: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = folder.locate(PARAMS, tmp_path)
    with monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        start = time.monotonic()
        for step in (lambda: gather(place), lambda: folder.locate(PARAMS, tmp_path)):
            with pytest.raises(
                UserError, match=r"it cannot be read .*endpoint.*AWS_ENDPOINT_URL.*what was fetched is kept"
            ):
                step()
        assert time.monotonic() - start < 120
    assert (place / "metadata.csv").exists()
    assert len(gather(place)[0]) == 10


def test_missing_credentials_are_named(tmp_path: Path, stored: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(UserError, match=r"NoCredentialsError: Unable to locate credentials"):
        folder.locate(PARAMS, tmp_path)
