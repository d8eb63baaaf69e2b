"""A folder of audio: what is usable comes out whole, what is not is counted with its reason."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from musicgen_lite.errors import UserError
from musicgen_lite.io import audio
from musicgen_lite.io.clips import Clip, ClipStore, ClipWriter
from musicgen_lite.sources import folder
from musicgen_lite.sources.duplicates import drop_leaked
from tests.support.clip_folders import RATE, gather, make, tone


@pytest.fixture
def music(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "a.wav", tone(5, 44100, 2), 44100)
    soundfile.write(tmp_path / "b.flac", tone(2, 8000), 8000)
    soundfile.write(tmp_path / "c.ogg", tone(4.2, 48000, 6), 48000)
    soundfile.write(tmp_path / "d.mp3", tone(2.5, 22050), 22050)
    soundfile.write(tmp_path / "e.wav", tone(2, RATE), RATE)
    return tmp_path


def test_any_format_rate_and_channels_are_cut_into_equal_clips(music: Path) -> None:
    clips, rejected = gather(make(music, ["a.wav,one", "b.flac,two", "c.ogg,three", "d.mp3,four"]))
    assert rejected == {}
    assert [clip.extra["file"] for clip in clips] == ["a.wav", "a.wav", "b.flac", "c.ogg", "c.ogg", "d.mp3"]
    for clip in clips:
        assert clip.samples.shape == (2 * RATE,)
        assert clip.samples.dtype == np.float32
        spectrum = np.abs(np.fft.rfft(clip.samples))
        assert np.argmax(spectrum) / 2 == pytest.approx(440, abs=1)
    by_track = {clip.track_id: clip.split for clip in clips}
    assert sorted(by_track.values()) == ["test", "test", "train", "validation"]


REAL = "MUSICGEN_LITE_FOLDER"


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get(REAL), reason=f"{REAL} does not name a folder of real audio")
def test_a_real_folder_is_used_or_its_rows_are_named() -> None:
    path = Path(os.environ[REAL])
    clips, rejected = gather(path, seconds=8.0)
    with (path / "metadata.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({clip.id[:6] for clip in clips}) + len(rejected) >= len(rows)
    assert all(clip.samples.shape == (8 * RATE,) and np.isfinite(clip.samples).all() for clip in clips)
    for clip in clips[:: max(1, len(clips) // 5)]:  # the same samples as in the file, by a reader of its own
        row = rows[int(clip.id[:6])]
        start = float(row.get("start_s") or 0) + 8.0 * int(clip.id[7:])
        whole, rate = soundfile.read(path / row["file_name"], always_2d=True)
        part = audio.resample(whole.mean(axis=1)[round(start * rate) :][: 8 * rate].astype(np.float32), rate, RATE)
        middle = slice(RATE, 7 * RATE)
        assert np.corrcoef(part[middle], clip.samples[middle])[0, 1] > 0.999


def test_windows_tracks_and_splits_of_the_table(music: Path) -> None:
    rows = ["a.wav,one,1,3.5,t1,train", "a.wav,two,3,,t1,train", "b.flac,x,,,t2,test", "d.mp3,y,0,2,t3,validation"]
    clips, rejected = gather(make(music, rows, "file_name,caption,start_s,end_s,track_id,split"))
    assert rejected == {}
    assert [(clip.caption, clip.split, clip.track_id) for clip in clips] == [
        ("one", "train", "t1"), ("two", "train", "t1"), ("x", "test", "t2"), ("y", "validation", "t3"),
    ]  # fmt: skip


def test_a_track_in_two_splits_is_refused(music: Path) -> None:
    rows = ["a.wav,one,t,train", "b.flac,two,t,test"]
    with pytest.raises(UserError, match="'t' is in both train and test"):
        gather(make(music, rows, "file_name,caption,track_id,split"))


def test_tempo_and_first_beat_of_the_table_go_with_each_piece(music: Path) -> None:
    rows = ["a.wav,x,120,0.5,", "b.flac,x,90,,", "c.ogg,x,100,0.25,0.25", "d.mp3,x,,,", "e.wav,x,,,"]
    clips, rejected = gather(make(music, rows, "file_name,caption,bpm,beat_s,start_s"))
    assert rejected == {}
    found = [(clip.extra["file"], clip.extra["tempo"], clip.extra["beat_s"]) for clip in clips]
    # A bar begins 0.5 s into a.wav, and every two bars of 2 s again: 2.5 s into its second piece, from 2 s on.
    assert found[:2] == [("a.wav", 120.0, 0.5), ("a.wav", 120.0, 2.5)]
    assert found[2][:2] == ("b.flac", 90.0)
    assert found[3] == ("c.ogg", 100.0, 0.0)
    assert np.isnan([found[2][2], *found[4][1:], *found[5][1:]]).all()


@pytest.mark.parametrize(
    ("bpm", "beat_s", "reason"),
    [
        ("fast", "", "beat: bpm is 'fast', not a number of BPM"),
        ("19", "", "beat: bpm is 19; 20 to 400 BPM are allowed"),
        ("401", "0", "beat: bpm is 401; 20 to 400 BPM are allowed"),
        ("nan", "", "beat: bpm is nan; 20 to 400 BPM are allowed"),
        ("120", "-1", "beat: beat_s is -1; 0 or more seconds are allowed"),
        ("120", "inf", "beat: beat_s is inf; 0 or more seconds are allowed"),
        ("", "1", "beat: beat_s is 1, but bpm is empty; give both, or bpm alone"),
    ],
)
def test_an_impossible_beat_is_rejected(music: Path, bpm: str, beat_s: str, reason: str) -> None:
    rows = [f"a.wav,x,{bpm},{beat_s}", "b.flac,x,,", "c.ogg,x,,", "d.mp3,x,,", "e.wav,x,,"]
    _, rejected = gather(make(music, rows, "file_name,caption,bpm,beat_s"))
    assert list(rejected.values()) == [reason]


@pytest.mark.parametrize(("start", "end"), [("3", "1"), ("-1", "2"), ("x", "2"), ("nan", "2")])
def test_impossible_windows_are_rejected(music: Path, start: str, end: str) -> None:
    rows = [f"a.wav,x,{start},{end}", "b.flac,x,,", "c.ogg,x,,", "d.mp3,x,,", "e.wav,x,,"]
    _, rejected = gather(make(music, rows, "file_name,caption,start_s,end_s"))
    assert len(rejected) == 1


def test_equal_audio_is_one_track_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, 4 * RATE).astype(np.float32)
    soundfile.write(tmp_path / "one.wav", noise, RATE)
    soundfile.write(tmp_path / "two.flac", soundfile.read(tmp_path / "one.wav")[0], RATE)
    both = np.repeat(soundfile.read(tmp_path / "one.wav")[0][:, None], 2, axis=1)
    soundfile.write(tmp_path / "three.wav", both, RATE)
    names = ["one.wav", "two.flac", "three.wav"]
    for number in range(6):
        soundfile.write(tmp_path / f"other{number}.wav", np.roll(noise, number + 1), RATE)
        names.append(f"other{number}.wav")
    for name in ("silent1.wav", "silent2.wav"):  # not used, and no reason to put two tracks together
        soundfile.write(tmp_path / name, np.zeros(4 * RATE), RATE)
    clips, rejected = gather(make(tmp_path, [f"{name},x" for name in [*names, "silent1.wav", "silent2.wav"]]))
    assert len(rejected) == 2
    tracks = {clip.extra["file"]: (clip.track_id, clip.split) for clip in clips}
    assert tracks["one.wav"] == tracks["two.flac"] == tracks["three.wav"]
    assert tracks["one.wav"][0] == "one.wav"
    assert len(set(tracks.values())) == 7
    said = capsys.readouterr().out
    assert said == "equal audio, treated as one track: one.wav, two.flac, three.wav\n"


def test_five_equal_files_are_one_track_and_make_no_three_splits(tmp_path: Path) -> None:
    for number in range(5):
        soundfile.write(tmp_path / f"{number}.wav", tone(4, RATE), RATE)
    with pytest.raises(UserError, match=r"1 track\(s\) cannot make three splits"):
        gather(make(tmp_path, [f"{number}.wav,x" for number in range(5)]))


@pytest.mark.parametrize("header", ["file_name,caption,split", "file_name,caption,split,track_id"])
def test_a_split_column_that_separates_equal_audio_is_refused_by_name(music: Path, header: str) -> None:
    soundfile.write(music / "copy.flac", tone(2, 8000), 8000)
    rows = ["a.wav,x,train,t1", "b.flac,x,train,t2", "copy.flac,x,test,t3", "c.ogg,x,validation,t4"]
    with pytest.raises(UserError, match=r"metadata\.csv: b\.flac is in train and copy\.flac in test, but their audio"):
        gather(make(music, [row.rsplit(",", header.count(",") == 2)[0] for row in rows], header))
    together = [row.replace("copy.flac,x,test", "copy.flac,x,") for row in rows]
    clips, _ = gather(make(music, [row.rsplit(",", header.count(",") == 2)[0] for row in together], header))
    splits = {clip.extra["file"]: clip.split for clip in clips}
    assert splits["copy.flac"] == splits["b.flac"] == "train"


def test_a_clip_whose_samples_are_in_another_split_is_left_out() -> None:
    """As where a file is an excerpt of another one, or two sources share a sound."""
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, (2, 100)).astype(np.float32)
    made = [
        Clip(f"c{n}", f"t{n}", split, "x", (), noise[row], RATE)
        for n, (split, row) in enumerate([("train", 0), ("test", 1), ("train", 0), ("test", 0)])
    ]
    rejected: dict[str, str] = {}
    kept = [clip.id for clip in drop_leaked(made, lambda name, reason: rejected.update({name: reason}))]
    assert kept == ["c0", "c1", "c2"]
    assert rejected == {"c3 (t3)": "duplicate: the same audio as c0 (t0), which is in train"}


def test_shorter_clips_are_kept_down_to_the_length_that_is_given(tmp_path: Path) -> None:
    lengths = {"loop": 1.5, "long": 5.2, "brief": 0.4, "whole": 4.0, "rest": 2.5, "almost": 0.995}
    for number, (name, length) in enumerate(lengths.items()):
        soundfile.write(tmp_path / f"{name}.wav", tone(length, 44100, hz=300 + 40 * number), 44100)
    make(tmp_path, [f"{name}.wav,x" for name in lengths])
    rejected: dict[str, str] = {}
    found = folder.clips(
        tmp_path, RATE, 2.0, 0.1, 0.1, lambda name, reason: rejected.update({name: reason}), shortest=1.0
    )
    seconds: dict[str, list[float]] = {}
    for clip in found:
        seconds.setdefault(clip.extra["file"].removesuffix(".wav"), []).append(len(clip.samples) / RATE)
    assert seconds == {
        "loop": [1.5], "long": [2.0, 2.0, 1.2], "whole": [2.0, 2.0], "rest": [2.0], "almost": [1.0],
    }  # fmt: skip
    assert rejected == {"metadata.csv row 4 (brief.wav)": "too short: 0.40 s, at least 1 s are needed"}
    _, rejected = gather(tmp_path)
    assert len(rejected) == 3  # by default all are of one length


def test_names_spelled_differently_are_found(tmp_path: Path) -> None:
    nfc, nfd = "Bj\u00f6rk/\u00c5ngstr\u00f6m \u00e9.wav", "Bjo\u0308rk/A\u030angstro\u0308m e\u0301.wav"
    on_disk = [nfd, "na\u00efve.wav", " spaces before.wav", "after .wav", "both \u0301.wav", "plain.wav"]
    for number, name in enumerate(on_disk):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        soundfile.write(tmp_path / name, tone(2, RATE, hz=300 + 50 * number), RATE)
    cells = [nfc, "nai\u0308ve.wav", " spaces before.wav", "spaces before.wav", "  plain.wav", nfd]
    header = "file_name,caption,start_s,end_s"
    clips, rejected = gather(make(tmp_path, [f"{cell},x,,{1 + 0.01 * n}" for n, cell in enumerate(cells)], header), 1.0)
    assert rejected == {}
    found = [round(float(np.argmax(np.abs(np.fft.rfft(clip.samples))))) for clip in clips]
    assert found == [300, 350, 400, 400, 550, 300]
    assert len({clip.track_id for clip in clips}) == 4
    assert folder.digest(tmp_path) == folder.digest(tmp_path)
    before = folder.digest(tmp_path)
    os.utime(tmp_path / nfd, ns=(1, 1))
    assert folder.digest(tmp_path) != before


def test_of_a_name_that_is_not_there_the_nearest_is_given(music: Path) -> None:
    rows = ["A.WAV,x", "c.oggg,x", "nothing like it.xyz,x", "a.wav,x", "b.flac,x", "d.mp3,x", "e.wav,x"]
    _, rejected = gather(make(music, rows))
    reasons = [reason for name, reason in rejected.items()]
    assert reasons == [
        "file: no such file; 'a.wav' is similar", "file: no such file; 'c.ogg' is similar", "file: no such file",
    ]  # fmt: skip


def test_a_folder_without_a_table(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"metadata\.csv: no such file.*metadata\.jsonl"):
        gather(tmp_path)


def test_digest_follows_table_and_files(music: Path) -> None:
    make(music, ["a.wav,one", "gone.wav,two"])
    before = folder.digest(music)
    assert before == folder.digest(music)
    soundfile.write(music / "a.wav", tone(3, RATE), RATE)
    assert folder.digest(music) != before


def test_clips_survive_their_parquet_shards(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    waves = {f"c{n:03d}": (rng.uniform(-0.5, 0.5, 400)).astype(np.float32) for n in range(300)}
    writer = ClipWriter(tmp_path)
    for number, (name, wave) in enumerate(waves.items()):
        split = ("train", "validation", "test")[number % 3]
        writer.add(
            Clip(name, f"t{number}", split, f"caption {number}", ("a", "b"), wave, RATE, {"tempo": float(number)})
        )
    writer.close([{"id": "x", "reason": "why"}])
    clips = ClipStore(tmp_path)
    assert len(clips) == 300
    assert len(list(tmp_path.glob("clips-*.parquet"))) == 2
    assert clips.rejected == [{"id": "x", "reason": "why"}]
    assert len(clips.split("test")) == 100
    for clip in clips:
        np.testing.assert_allclose(clip.samples, waves[clip.id], atol=1 / 32767)
        assert clip.aspects == ("a", "b")
    samples, rate = clips.samples("c299")
    assert rate == RATE
    assert audio.peak(samples - waves["c299"]) < 1e-4
