"""MTG-Jamendo: its tables, the official splits, captions from a file or of tags; what cannot be used is named and counted."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from musicgen_lite.errors import UserError
from musicgen_lite.io.clips import Clip
from musicgen_lite.params_data import JamendoParams
from musicgen_lite.sources import jamendo
from tests.support.jamendo_tables import RATE, SPLITS, row, whole, write_audio, write_tables

REAL = "MUSICGEN_LITE_JAMENDO"


def params(**changes: Any) -> JamendoParams:
    shipped = {
        "tables": "tables", "subset": "autotagging", "audio": "audio", "suffix": ".mp3", "captions": "", "clips_per_track": 0,
    }  # fmt: skip
    return JamendoParams.model_validate(shipped | changes)


def gather(place: Path, **changes: Any) -> tuple[list[Clip], dict[str, str]]:
    """The clips of a folder with `tables` and `audio`, and what was rejected."""
    rejected: dict[str, str] = {}
    cfg = params(**changes)
    found = jamendo.locate(cfg, place)
    clips = jamendo.clips(found, RATE, 1.0, cfg.clips_per_track, lambda name, reason: rejected.update({name: reason}))
    return list(clips), rejected


def test_rows_of_different_lengths_come_out_in_their_official_splits(tmp_path: Path) -> None:
    whole(tmp_path)
    clips, rejected = gather(tmp_path)
    assert rejected == {}
    by_split = {split: {int(clip.track_id[6:]) for clip in clips if clip.split == split} for split in SPLITS}
    assert by_split == {split: set(numbers) for split, numbers in SPLITS.items()}
    assert len(clips) == 2 * 24  # of 2.6 s each
    first, odd = clips[2], clips[0]
    assert (first.id, first.track_id) == ("track_0000002-000", "track_0000002")
    assert first.caption == "A rock piece featuring electric guitar."
    assert first.aspects == ("rock", "electric guitar")
    assert odd.caption == "A rock piece featuring electric guitar; mood and theme: happy."
    assert first.extra == {"file": "02/2.mp3", "genre": "rock"}
    assert all(len(clip.samples) == RATE for clip in clips)


@pytest.mark.parametrize("suffix", ["_instrumental.mp3", ".low.mp3", "_instrumental.flac"])
def test_the_stems_lie_at_the_same_path_under_another_ending(tmp_path: Path, suffix: str) -> None:
    whole(tmp_path, suffix)
    clips, rejected = gather(tmp_path, suffix=suffix, clips_per_track=1)
    assert rejected == {}
    assert len(clips) == 24
    assert clips[0].extra["file"] == f"01/1{suffix}"
    assert len(gather(tmp_path)[1]) == 24  # under the names of the whole tracks there is nothing


@pytest.mark.parametrize(
    ("tags", "caption"),
    [
        (["genre---electronic", "genre---hiphop"], "An electronic and hip hop piece."),
        (["instrument---piano", "instrument---drums", "instrument---bass"], "A piece of music featuring piano, drums and bass."),
        (["mood/theme---calm", "mood/theme---film"], "A piece of music; mood and theme: calm, film."),
    ],
)  # fmt: skip
def test_a_caption_made_of_tags_says_each_of_them(tmp_path: Path, tags: list[str], caption: str) -> None:
    write_tables(tmp_path / "tables", {"train": [row(7, *tags)]})
    write_audio(tmp_path / "audio", [7])
    assert {clip.caption for clip in gather(tmp_path)[0]} == {caption}


@pytest.mark.parametrize(
    "captions",
    [
        [{"path": "01/1.mp3", "caption": "A given text."}, {"path": "99/99.mp3", "caption": "No track of ours."}],
        {"track_0000001": "A given text."},
        {"1": "A given text."},
        {"01/1_instrumental.mp3": "A given text."},
    ],
)
def test_captions_are_those_of_the_file_and_else_made_of_tags(tmp_path: Path, captions: Any) -> None:
    whole(tmp_path)
    (tmp_path / "captions.json").write_text(json.dumps(captions))
    clips, rejected = gather(tmp_path, captions="captions.json", clips_per_track=1)
    assert rejected == {}
    assert [clip.caption for clip in clips[:2]] == ["A given text.", "A rock piece featuring electric guitar."]
    assert clips[0].aspects == ("rock", "electric guitar", "happy")
    found = jamendo.texts(jamendo.locate(params(captions="captions.json"), tmp_path))
    assert found == [clip.caption for clip in clips]


BAD: dict[str, tuple[Sequence[str], str]] = {
    "no audio": ([row(30, "genre---rock")], "file: no such file"),
    "no tags": ([row(1)], "tags: none, and no caption is given for the track"),
    "an empty tag": ([row(1, "")], "tags: none, and no caption is given for the track"),
    "outside": ([row(1, "genre---rock", path="../outside.mp3")], "file: PATH leads outside the folder"),
    "absolute": ([row(1, "genre---rock", path="/etc/passwd")], "file: PATH leads outside the folder"),
    "no path": ([row(1, "genre---rock", path="")], "file: PATH is empty"),
    "no tag": ([row(1, "rock")], "tags: 'rock' is none; allowed is genre, instrument, mood/theme, each with ---"),
    "a tag of another kind": ([row(1, "year---1999")], "tags: 'year---1999' is none"),
    "too few cells": (["track_0000001\tartist_000001"], "not a row: 2 cells, at least 5"),
    "twice": ([row(2, "genre---rock"), row(2, "genre---rock")], "duplicate: the same track as autotagging-train.tsv row"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_a_bad_row_is_named_and_the_others_are_used(tmp_path: Path, what: str) -> None:
    lines, reason = BAD[what]
    write_tables(tmp_path / "tables", {"train": [row(3, "genre---rock"), *lines]})
    write_audio(tmp_path / "audio", [1, 2, 3])
    # What a path outside would lead to.
    (tmp_path / "outside.mp3").write_bytes((tmp_path / "audio" / "01" / "1.mp3").read_bytes())
    clips, rejected = gather(tmp_path)
    assert "track_0000003" in {clip.track_id for clip in clips}
    ((place, said),) = rejected.items()
    assert place.startswith("autotagging-train.tsv row ")
    assert said.startswith(reason)


def test_a_bad_caption_is_rejected_and_its_track_is_described_by_its_tags(tmp_path: Path) -> None:
    whole(tmp_path)
    (tmp_path / "captions.json").write_text(json.dumps([{"path": "01/1.mp3"}, "02/2.mp3"]))
    clips, rejected = gather(tmp_path, captions="captions.json")
    assert len({clip.track_id for clip in clips}) == 24
    assert list(rejected) == ["captions.json entry 1", "captions.json entry 2"]
    (tmp_path / "captions.json").write_text(json.dumps({"1": "x" * 3000}))
    assert gather(tmp_path, captions="captions.json")[1] == {
        "autotagging-train.tsv row 2 (track_0000001)": "caption: 3000 characters, at most 2000 are allowed"
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tables": ""}, r"data\.jamendo\.tables: empty; name one of the folders data/splits/split-0"),
        ({"audio": ""}, r"data\.jamendo\.audio: empty; name the folder that holds 00/ to 99/"),
        ({"audio": "nowhere"}, r"data\.jamendo\.audio: nowhere: no such folder"),
        ({"subset": "autotagging_genre"}, r"data\.jamendo\.tables: .*autotagging_genre-train\.tsv: no such file"),
        ({"captions": "gone.json"}, r"data\.jamendo\.captions: .*gone\.json: no such file"),
        ({"captions": "tables/autotagging-train.tsv"}, r"autotagging-train\.tsv: not valid JSON"),
        ({"captions": "number.json"}, r"number\.json: expected a list of objects .*found int"),
    ],
)
def test_what_is_not_there_is_named(tmp_path: Path, changes: dict[str, str], message: str) -> None:
    whole(tmp_path)
    (tmp_path / "number.json").write_text("1")
    with pytest.raises(UserError, match=message):
        gather(tmp_path, **changes)


def test_another_table_and_a_track_in_two_splits_are_refused(tmp_path: Path) -> None:
    whole(tmp_path)
    write_tables(tmp_path / "tables", {"train": [row(1, "genre---rock")], "test": [row(1, "genre---rock")]})
    with pytest.raises(UserError, match=r"autotagging-test\.tsv: track 'track_0000001' is in both train and test"):
        gather(tmp_path)
    (tmp_path / "tables" / "autotagging-test.tsv").write_text("file_name,caption\n")
    with pytest.raises(
        UserError, match=r"autotagging-test\.tsv: not a table of MTG-Jamendo: it begins with 'file_name"
    ):
        gather(tmp_path)


def test_what_decides_the_clips_is_in_the_digest(tmp_path: Path) -> None:
    whole(tmp_path)
    (tmp_path / "captions.json").write_text("{}")
    place = jamendo.locate(params(captions="captions.json"), tmp_path)
    found = [jamendo.digest(place)]
    assert jamendo.digest(place) == found[0]
    (tmp_path / "captions.json").write_text('{"1": "x"}')
    found.append(jamendo.digest(place))
    (tmp_path / "audio" / "01" / "1.mp3").unlink()
    found.append(jamendo.digest(place))
    write_tables(tmp_path / "tables", {"train": [row(1, "genre---rock")]})
    found.append(jamendo.digest(place))
    assert len(set(found)) == 4


@pytest.mark.skipif(not os.environ.get(REAL), reason=f"{REAL} does not name a table of MTG-Jamendo")
def test_a_real_table_is_read_to_its_last_row(tmp_path: Path) -> None:
    table = Path(os.environ[REAL])
    place = jamendo.Place({"train": table}, tmp_path, ".mp3", None)
    assert len(jamendo.texts(place)) == len(table.read_text(encoding="utf-8").strip().splitlines()) - 1
    rejected: list[str] = []
    assert jamendo.read(place, lambda name, reason: rejected.append(reason)) == []
    assert set(rejected) == {"file: no such file"}
