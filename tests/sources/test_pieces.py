"""Cutting by an engine: the clips and reasons of this process, in their order, wherever a file is cut."""

import json
from pathlib import Path

import pytest
import soundfile

from musicgen_lite.compute import IN_THIS_PROCESS
from musicgen_lite.errors import UserError
from musicgen_lite.io.clips import ClipStore
from musicgen_lite.sources import pieces
from musicgen_lite.sources.pieces import Cutting, FilePart, cut_each
from tests.support import sources
from tests.support.clip_folders import tone
from tests.support.sources import RATE, Elsewhere, imported

LEFT_OUT = {
    "folder": ["not audio", "truncated", "silent"],
    "jamendo": ["not audio"],
    "hub": ["not audio", "caption"],
    "musiccaps": ["gone"],
}


@pytest.mark.slow
@pytest.mark.parametrize("sent_s", [600.0, 2.0, 0.1])
def test_another_process_gives_the_bytes_of_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent_s: float
) -> None:
    """Also of what is longer than what travels together, whose end is cut here."""
    for package in ("datasets", "yt_dlp"):
        pytest.importorskip(package, reason=f"the package {package} is not installed (make env)")
    place = sources.write(tmp_path / "place")
    here = imported(place, IN_THIS_PROCESS, tmp_path / "here")
    monkeypatch.setattr(pieces, "SENT_S", sent_s)
    assert imported(place, Elsewhere(), tmp_path / "there") == here
    for name, kinds in LEFT_OUT.items():
        reasons = [one["reason"] for one in json.loads(here[f"{name}/rejected.json"])]
        assert {reason.split(":")[0] for reason in reasons} >= set(kinds), name
        assert len(ClipStore(tmp_path / "there" / name)) > 8


def test_of_a_track_no_more_is_cut_than_is_wanted(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(5, RATE), RATE)
    for engine in (IN_THIS_PROCESS, Elsewhere()):
        work, part = Cutting(RATE, 1.0, most=2), FilePart("a", tmp_path / "a.wav")
        assert [number for _, number, _ in cut_each(engine, work, [("a", part)], print)] == [0, 1]


def test_a_file_that_a_machine_does_not_see_is_no_bad_file(tmp_path: Path) -> None:
    part = FilePart("metadata.csv row 2", tmp_path / "a.wav")
    for engine in (IN_THIS_PROCESS, Elsewhere()):
        with pytest.raises(UserError, match=r"a\.wav: it was there when this stage began; .+ does not see it"):
            list(cut_each(engine, Cutting(RATE, 1.0), [("a", part)], print))
