"""The table of docs/bad-input.md: every kind of bad file and row beside good ones, which must all come through."""

import json
import re
import shutil
import subprocess
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from musicgen_lite.errors import UserError
from musicgen_lite.io.clips import Clip
from musicgen_lite.sources import folder
from tests.support.audio_files import mp3, without_length
from tests.support.clip_folders import RATE, gather, make, tone

DOCS = Path(__file__).parent.parent.parent / "docs" / "bad-input.md"
HEADER = "file_name,caption,start_s,end_s,track_id,split"
GOOD = ("good1.wav", "good2.wav", "good3.wav", "good4.wav")
Build = Callable[[Path], str]


def write(name: str, samples: np.ndarray, rate: int = RATE, subtype: str | None = None) -> Build:
    """A case that is a file of its own: writes it and gives its row."""

    def build(path: Path) -> str:
        soundfile.write(path / name, samples, rate, subtype=subtype)
        return f"{name},bad,,,,"

    return build


def raw(name: str, data: bytes) -> Build:
    def build(path: Path) -> str:
        (path / name).write_bytes(data)
        return f"{name},bad,,,,"

    return build


def line(text: str) -> Build:
    """A case that is a row about a good file."""
    return lambda path: text


def truncated(path: Path) -> str:
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, 10 * RATE)
    soundfile.write(path / "cut.flac", noise, RATE)
    data = (path / "cut.flac").read_bytes()
    (path / "cut.flac").write_bytes(data[: len(data) // 2])
    return "cut.flac,bad,,,,"


def link(path: Path) -> str:
    outside = path.parent / "outside.wav"
    soundfile.write(outside, tone(2, RATE), RATE)
    (path / "link.wav").symlink_to(outside)
    return "link.wav,bad,,,,"


def spoilt(value: float) -> np.ndarray:
    samples = tone(2, RATE)
    samples[100] = value
    return samples


def offset(level: float, by: float) -> np.ndarray:
    return (level * tone(2, RATE) + by).astype(np.float32)


# What the docs call it: how it comes about, and what the report says of it.
REJECTED: dict[str, tuple[Build, str]] = {
    "a text file called .wav": (raw("text.wav", b"no audio at all"), "not audio"),
    "a truncated flac": (truncated, "truncated"),
    "zero bytes": (raw("zero.wav", b""), "not audio"),
    "a header without samples": (write("none.wav", np.zeros(0)), "empty"),
    "a 0.2 s clip": (write("short.wav", tone(0.2, RATE)), "too short"),
    "NaN samples": (write("nan.wav", spoilt(np.nan), subtype="FLOAT"), "holds NaN or infinite samples"),
    "infinite samples": (write("inf.wav", spoilt(np.inf), subtype="FLOAT"), "holds NaN or infinite samples"),
    "all zeros": (write("zeros.wav", np.zeros(2 * RATE)), "silent"),
    "nothing but a DC offset": (write("level.wav", np.full(2 * RATE, 0.05)), "silent"),
    "a DC offset of more than 0.1": (write("dc.wav", offset(1.0, 0.3)), "DC offset"),
    "a path outside the folder, ../x.wav": (line("../x.wav,bad,,,,"), "file: file_name leads outside the folder"),
    "an absolute path": (line("/etc/passwd,bad,,,,"), "file: file_name leads outside the folder"),
    "a symbolic link out of the folder": (link, "file: file_name leads outside the folder"),
    "a missing file": (line("gone.wav,bad,,,,"), "file: no such file"),
    "an empty file name": (line(",bad,,,,"), "file: file_name is empty"),
    "a file name of 5,000 characters": (line(f"{'x' * 5000},bad,,,,"), "file: file_name cannot be a file's"),
    "the same file and window twice": (line("good1.wav,bad,,,,"), "duplicate"),
    "an empty caption": (line("good1.wav,  ,0,1,,"), "caption: empty"),
    "a caption of 50,000 characters": (line(f"good1.wav,{'x' * 50_000},0,1,,"), "caption: 50000 characters"),
    "start after end": (line("good1.wav,bad,3,1,,"), "window: starts at 3 s, but ends at 1 s"),
    "a window that starts past the end": (line("good1.wav,bad,30,40,,"), "window: starts at 30 s"),
    "a window that ends past the end": (line("good1.wav,bad,1,40,,"), "window: ends at 40 s"),
    "a window that is no number": (line("good1.wav,bad,x,2,,"), "window: start_s is 'x'"),
    "a negative or infinite window": (line("good1.wav,bad,-1,2,,"), "window: start_s is -1"),
    "an unknown split": (line("good1.wav,bad,0,1,,holdout"), "split: 'holdout' is none of"),
    "a row with too many cells": (line("good1.wav,fast, loud,0,1,,"), "not a row: 7 cells, 6 columns"),
}
ACCEPTED: dict[str, Build] = {
    "8 kHz": write("low.wav", tone(2, 8000), 8000),
    "192 kHz": write("high.wav", tone(2, 192000), 192000),
    "6 channels": write("six.wav", tone(2, RATE, 6)),
    "a DC offset of at most 0.1": write("little.wav", offset(1.0, 0.05)),
    "samples beyond full scale": write("loud.wav", 5 * tone(2, RATE), subtype="FLOAT"),
}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    music = tmp_path / "music"
    music.mkdir()
    for number, name in enumerate(GOOD):
        soundfile.write(music / name, tone(4, RATE, hz=300 + 10 * number), RATE)
    return music


def table(place: Path, *rows: str) -> Path:
    return make(place, [*(f"{name},good,,,," for name in GOOD), *rows], HEADER)


def pitch(clip: Clip) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(clip.samples - clip.samples.mean())))) * clip.rate / len(clip.samples)


@pytest.mark.parametrize("name", REJECTED)
def test_what_cannot_be_used_is_counted_with_its_reason_and_the_rest_goes_on(place: Path, name: str) -> None:
    build, expected = REJECTED[name]
    clips, rejected = gather(table(place, build(place)))
    assert sum(clip.caption == "good" for clip in clips) == 2 * len(GOOD)
    (reason,) = rejected.values()
    assert reason.startswith(expected)


def test_all_of_them_at_once(place: Path) -> None:
    rows = [build(place) for build, _ in REJECTED.values()] + [build(place) for build in ACCEPTED.values()]
    clips, rejected = gather(table(place, *rows))
    assert len(rejected) == len(REJECTED)
    assert sum(clip.caption == "good" for clip in clips) == 2 * len(GOOD)


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_can_be_used_is(place: Path, name: str) -> None:
    clips, rejected = gather(table(place, ACCEPTED[name](place)))
    assert rejected == {}
    (clip,) = (clip for clip in clips if clip.caption == "bad")
    assert clip.samples.shape == (2 * RATE,)
    assert pitch(clip) == pytest.approx(440, abs=1)
    assert np.abs(clip.samples).max() <= 1.0


def test_a_truncated_file_gives_the_clips_before_the_break(place: Path) -> None:
    clips, rejected = gather(table(place, truncated(place)))
    (reason,) = rejected.values()
    match = re.fullmatch(r"truncated: it should go on to 10.00 s, but can be read to (\S+) s only; (\d).*", reason)
    assert match
    assert sum(clip.caption == "bad" for clip in clips) == int(match[2]) == float(match[1]) // 2 == 2


@pytest.mark.parametrize(("quiet_s", "loud_s"), [(4, 8), (0.5, 7.5)])
def test_an_mp3_that_does_not_state_its_length_gives_all_its_clips(place: Path, quiet_s: float, loud_s: float) -> None:
    (place / "bare.mp3").write_bytes(without_length(mp3(quiet_s, loud_s)))
    clips, rejected = gather(table(place, "bare.mp3,bad,,,,"))
    assert rejected == {}
    assert sum(clip.caption == "bad" for clip in clips) == (quiet_s + loud_s) // 2
    _, rejected = gather(table(place, "bare.mp3,bad,20,24,,"))
    assert list(rejected.values()) == ["window: starts at 20 s, but the file ends before it"]
    _, rejected = gather(table(place, "bare.mp3,bad,1,40,,"))
    (reason,) = rejected.values()
    assert reason.startswith("window: ends at 40 s, but the file at ")


@pytest.mark.slow
def test_two_hours_are_cut_in_the_memory_of_one_clip(place: Path) -> None:
    with soundfile.SoundFile(place / "long.wav", "w", 8000, 1, "PCM_16") as file:
        minute = tone(60, 8000)
        for _ in range(120):
            file.write(minute)
    table(place, "long.wav,long,,,,")
    count = 0
    tracemalloc.start()
    try:
        for clip in folder.clips(place, 8000, 8.0, 0.1, 0.1, lambda name, reason: None):
            count += clip.caption == "long"
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 900
    assert peak < 20e6


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"file_name\na.wav\n", "column 'caption' is missing; found file_name"),
        (b"file_name;caption\na.wav;x\n", "column 'file_name' is missing; found file_name;caption"),
        (b"file_name,caption,caption\na.wav,x,y\n", "column 'caption' is there twice"),
        (b'file_name,caption\na.wav,"never closed\nb.wav,x\n', "not a CSV table, at line 3: unexpected end of data"),
        ("file_name,caption\na.wav,naïve\n".encode("latin-1"), "not UTF-8"),
        (b"", "no rows in it"),
        (b"file_name,caption\n", "no rows in it"),
    ],
)  # fmt: skip
def test_tables_that_cannot_be_read_are_named(place: Path, data: bytes, expected: str) -> None:
    (place / "metadata.csv").write_bytes(data)
    with pytest.raises(UserError) as error:
        gather(place)
    assert "metadata.csv" in str(error.value)
    assert expected in str(error.value)


def test_a_byte_order_mark_and_captions_over_lines_are_read(place: Path) -> None:
    rows = "".join(f'{name},"two\nlines, 音楽"\n' for name in GOOD)
    (place / "metadata.csv").write_bytes(b"\xef\xbb\xbf" + f"file_name,caption\n{rows}".encode())
    clips, rejected = gather(place)
    assert rejected == {}
    assert {clip.caption for clip in clips} == {"two\nlines, 音楽"}


def test_json_lines_give_what_the_same_csv_gives(place: Path) -> None:
    table(place, "good1.wav,more,0.5,2.5,,", "gone.wav,x,,,,")
    expected, missing = gather(place)
    lines = [{"file_name": name, "caption": "good"} for name in GOOD]
    lines += [{"file_name": "good1.wav", "caption": "more", "start_s": 0.5, "end_s": 2.5, "split": None}]  # type: ignore[dict-item]
    lines += [{"file_name": "gone.wav", "caption": "x"}]
    (place / "metadata.csv").unlink()
    text = "\n".join(map(json.dumps, lines)) + "\n\n{broken\n[1]\n"
    (place / "metadata.jsonl").write_text(text, encoding="utf-8-sig")
    found, rejected = gather(place)
    assert [(clip.id, clip.caption, clip.split) for clip in found] == [(c.id, c.caption, c.split) for c in expected]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.samples, other.samples)
    assert len(rejected) == len(missing) + 2
    assert sum("not a row" in reason for reason in rejected.values()) == 2
    (place / "metadata.csv").write_text("file_name,caption\n")
    with pytest.raises(UserError, match=r"both metadata\.csv and metadata\.jsonl"):
        gather(place)


def test_a_file_in_two_tracks_is_refused(place: Path) -> None:
    with pytest.raises(UserError, match=r"good1\.wav is in both track 'good1\.wav' and 'other'"):
        gather(table(place, "good1.wav,x,0,1,other,"))


@pytest.mark.skipif(
    shutil.which("ffmpeg") is None, reason="the program ffmpeg is not installed (apt-get install ffmpeg)"
)
def test_m4a_is_read_through_ffmpeg_like_any_other(place: Path) -> None:
    soundfile.write(place / "stereo.wav", tone(4, 44100, 2), 44100)
    subprocess.run(["ffmpeg", "-loglevel", "error", "-i", place / "stereo.wav", place / "a.m4a"], check=True)
    (place / "-b.m4a").write_bytes((place / "a.m4a").read_bytes())
    (place / "text.m4a").write_text("no audio")
    rows = ["a.m4a,m4a,,,,", "-b.m4a,m4a,1,3,,", "text.m4a,x,,,,", "a.m4a,x,30,40,,", "a.m4a,m4a,3,9,,"]
    clips, rejected = gather(table(place, *rows))
    found = [clip for clip in clips if clip.caption == "m4a"]
    assert [clip.id for clip in found] == ["000004-000", "000004-001", "000005-000"]
    for clip in found:
        assert pitch(clip) == pytest.approx(440, abs=1)
        assert np.abs(clip.samples).max() == pytest.approx(0.3, abs=0.03)  # the loudness is left alone
    assert [reason.split(":")[0] for reason in rejected.values()] == ["not audio", "window", "window"]


def test_without_ffmpeg_only_what_needs_it_is_an_error(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(place))
    assert len(gather(table(place))[0]) == 2 * len(GOOD)
    (place / "a.m4a").write_bytes(b"anything")
    with pytest.raises(UserError, match=r"a\.m4a needs the program ffmpeg.*apt-get install ffmpeg"):
        gather(table(place, "a.m4a,x,,,,"))


def test_the_docs_have_a_row_for_each_with_what_is_said_of_it() -> None:
    rows = dict(re.findall(r"^\| (.+?) \| (.+?) \|$", DOCS.read_text(encoding="utf-8"), re.MULTILINE))
    for name, (_, expected) in REJECTED.items():
        assert f"`{expected.split(':')[0]}" in rows[name], name
    for name in ACCEPTED:
        assert rows[name].startswith("used"), name
