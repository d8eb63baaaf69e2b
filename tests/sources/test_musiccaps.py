"""MusicCaps: its table, its split, and its audio by the real yt-dlp and ffmpeg from a local server."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from benchmarks import musiccaps as musiccaps_benchmark
from musicgen_lite.errors import UserError
from musicgen_lite.io import audio
from musicgen_lite.io.clips import Clip
from musicgen_lite.sources import fetch as fetching
from musicgen_lite.sources import ffmpeg, musiccaps
from musicgen_lite.sources.fetch import Fetcher, Missing, Window
from tests.support.musiccaps_tables import RATE, marked, row, wav, write_table
from tests.support.server import Server

REAL = "MUSICGEN_LITE_MUSICCAPS_CSV"
needs_tools = pytest.mark.skipif(
    shutil.which("ffmpeg") is None, reason="the program ffmpeg is not installed (apt-get install ffmpeg)"
)


def pitches(samples: np.ndarray, rate: int) -> list[int]:
    """The pitch of each second, from its middle half."""
    found = []
    for second in range(round(len(samples) / rate)):
        part = samples[round((second + 0.25) * rate) : round((second + 0.75) * rate)]
        spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part)), 16 * len(part)))
        found.append(round(float(np.argmax(spectrum)) * rate / (16 * len(part))))
    return found


def fetcher(cache: Path, server: Server, **changes: object) -> Fetcher:
    settings: dict[str, object] = {"workers": 3, "pause_s": 0.0, "attempts": 2, "options": {}}
    return Fetcher(cache, server.url + "/{ytid}.wav", **(settings | changes))  # type: ignore[arg-type]


def gather(table: Path, fetcher: Fetcher, seconds: float = 2.0) -> tuple[list[Clip], dict[str, str]]:
    rejected: dict[str, str] = {}
    found = musiccaps.clips(table, fetcher, RATE, seconds, 0.3, 0, lambda name, reason: rejected.update({name: reason}))
    return list(found), rejected


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("yt_dlp", reason="the package yt-dlp is not installed (make env)")
    monkeypatch.setattr(fetching, "BACKOFF_S", 0.01)


def entries(path: Path) -> tuple[list[musiccaps.Entry], dict[str, str]]:
    rejected: dict[str, str] = {}
    return musiccaps.read(path, lambda name, reason: rejected.update({name: reason})), rejected


def test_without_yt_dlp_the_command_that_installs_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ffmpeg, "require", lambda what: "ffmpeg")
    monkeypatch.setitem(sys.modules, "yt_dlp", None)
    with pytest.raises(
        UserError, match=r'data\.source musiccaps needs the package yt-dlp .*"musicgen-lite\[musiccaps\]"'
    ):
        Fetcher(tmp_path, "http://127.0.0.1/{ytid}", 1, 0.0, 1)


def test_rows_that_cannot_be_used_are_counted(tmp_path: Path) -> None:
    bad = [
        row("../../etc/x"), row("a" * 65), row("é" * 11), row("id1", caption=" "), row("id2", caption="x" * 50_000),
        row("id3", 5, 5), [*row("id4")[:-1], "maybe"], row("id5", "x"), [*row("id6")[:2], "", *row("id6")[3:]],  # type: ignore[arg-type]
        row("good"), row("short")[:-1],
    ]  # fmt: skip
    kept, rejected = entries(
        write_table(tmp_path / "t.csv", [row("good", caption='two\nlines, "quoted", naïve 音楽'), *bad])
    )
    assert [(one.window.ytid, one.caption) for one in kept] == [("good", 'two\nlines, "quoted", naïve 音楽')]
    assert kept[0].aspects == ("loud", "e-bass")
    assert len(rejected) == len(bad)
    assert Counter(reason.split(":")[0] for reason in rejected.values()) == {
        "id": 3, "caption": 2, "window": 3, "split": 1, "duplicate": 1, "not a row": 1,
    }  # fmt: skip


def test_split_is_the_table_s_for_the_test_and_a_seeded_hash_beside_it(tmp_path: Path) -> None:
    rows = [row(f"v{n}", held_out=n % 2 == 0) for n in range(2000)] + [row("v0", 2, 4)]
    kept, _ = entries(write_table(tmp_path / "t.csv", rows))
    split = musiccaps.splits(kept, 0.1, seed=0)
    assert {split[f"v{n}"] for n in range(0, 2000, 2)} == {"test"}  # v0 has a row outside of the evaluation set as well
    counts = Counter(split[f"v{n}"] for n in range(1, 2000, 2))
    assert counts["test"] == 0
    assert abs(counts["validation"] - 100) < 4 * (1000 * 0.1 * 0.9) ** 0.5
    fewer = musiccaps.splits(kept[500:], 0.1, seed=0)
    assert all(split[ytid] == name for ytid, name in fewer.items() if ytid != "v0")
    assert musiccaps.splits(kept, 0.1, seed=1) != split


@pytest.mark.skipif(not os.environ.get(REAL), reason=f"{REAL} does not name the real MusicCaps table")
def test_the_real_table() -> None:
    kept, rejected = entries(Path(os.environ[REAL]))
    assert rejected == {}
    assert len({one.window.name for one in kept}) == 5521
    counts = Counter(musiccaps.splits(kept, 0.05, 0).values())
    assert counts["test"] == 2858
    assert counts["train"] + counts["validation"] == 2663
    assert sum(one.window.ytid.startswith("-") for one in kept) == 107
    assert sum("\n" in one.caption for one in kept) == 5
    assert sum(not one.caption.isascii() for one in kept) == 36
    assert all(one.aspects for one in kept)
    assert {one.window.end_s - one.window.start_s for one in kept} == {10.0}


def test_tables_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.musiccaps\.csv: .*absent\.csv: no such file"):
        musiccaps.digest(tmp_path / "absent.csv")
    (tmp_path / "t.csv").write_text("ytid,start_s,end_s,caption\na,0,1,x\n")
    with pytest.raises(UserError, match="'is_audioset_eval' is missing"):
        entries(tmp_path / "t.csv")


def ask_hub(endpoint: str, home: Path, revision: str = "main") -> subprocess.CompletedProcess[str]:
    """`hub_table` in a process of its own: the hub's client reads its settings when it is imported."""
    code = f"from musicgen_lite.sources.musiccaps import hub_table; print(hub_table('google/MusicCaps', {revision!r}))"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    settings = {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [sys.executable, "-c", code], env=kept | settings, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.slow
def test_the_hub_s_table_is_fetched_once_and_a_hub_out_of_reach_is_named_at_once(tmp_path: Path) -> None:
    commit, content = "a" * 40, write_table(tmp_path / "t.csv", [row("-v1"), row("v2")]).read_bytes()
    files: dict[str, bytes | int] = {
        "api/datasets/google/MusicCaps/revision/main": b'{"id": "google/MusicCaps", "sha": "%s"}' % commit.encode(),
        "datasets/google/MusicCaps/resolve/main/musiccaps-public.csv": content,
    }
    with Server(lambda name: files.get(name, 404), about={"X-Repo-Commit": commit, "ETag": '"1"'}) as server:
        for time_around in ("fetched", "cached"):
            done = ask_hub(server.url, tmp_path / "home")
            found = Path(done.stdout.strip())
            assert (time_around, found.read_bytes()) == (time_around, content)
            assert found.name == "musiccaps-public.csv"
            files.clear()  # the second time nothing is there to be had
        done = ask_hub(server.url, tmp_path / "home", "no-such-branch")
        assert "data.musiccaps.dataset: the hub did not give" in done.stderr
        assert "'no-such-branch'" in done.stderr
    started = time.monotonic()
    done = ask_hub("http://127.0.0.1:9", tmp_path / "empty")
    assert time.monotonic() - started < 120  # imports included, on a loaded machine
    assert "name a copy of musiccaps-public.csv in data.musiccaps.csv" in done.stderr


def test_missing_programs_are_named_with_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(UserError, match="apt-get install ffmpeg"):
        Fetcher(tmp_path, "{ytid}", 1, 0.0, 1)


@pytest.mark.slow
@needs_tools
@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("suffix", "options", "ranges"),
    [
        ("wav", (), True), ("mp3", (), True), ("m4a", ("-c:a", "aac"), True), ("webm", ("-c:a", "libopus"), True),
        ("wav", (), False), ("mp3", (), False), ("m4a", ("-c:a", "aac", "-movflags", "+faststart"), False),
    ],
)  # fmt: skip
def test_ffmpeg_cuts_the_window_and_nothing_else(
    tmp_path: Path, suffix: str, options: tuple[str, ...], ranges: bool
) -> None:
    """Each second of the source has a pitch of its own: the right ones come back, whatever the container."""
    source = tmp_path / "source.wav"
    soundfile.write(source, marked(14, 48000), 48000)
    encoded = tmp_path / f"v.{suffix}"
    subprocess.run(["ffmpeg", "-loglevel", "error", "-i", source, *options, encoded], check=True)
    data = encoded.read_bytes()
    with Server(lambda name: data, ranges) as server:
        getter = fetcher(tmp_path / "cache", server)
        getter.url = server.url + "/{ytid}." + suffix
        (path,) = getter.fetch([Window("-v1", 7.0, 11.0)])
    assert isinstance(path, Path)
    samples, rate = audio.read(path)
    assert rate == 48000
    assert samples.shape[1] == pytest.approx(4 * rate, abs=2)
    assert pitches(samples[0], rate) == pytest.approx([640, 660, 680, 700], abs=1)
    if suffix == "wav":
        np.testing.assert_allclose(samples[0], marked(14, 48000)[7 * rate : 11 * rate], atol=2 / 32768)


@needs_tools
@pytest.mark.usefixtures("quick")
def test_yt_dlp_s_options_reach_every_request(tmp_path: Path) -> None:
    """Cookies and headers that a site asks for go with the page and with the audio, which ffmpeg reads."""
    cookies = tmp_path / "cookies.txt"
    cookies.write_text("# Netscape HTTP Cookie File\n127.0.0.1\tFALSE\t/\tFALSE\t0\tsession\tabc\n")
    options = {"cookiefile": str(cookies), "http_headers": {"X-Mirror": "key"}}
    data = wav(marked(4))
    with Server(lambda name: data) as server:
        getter = fetcher(tmp_path / "cache", server, options=options)
        (path,) = getter.fetch([Window("v", 1, 3)])
        assert isinstance(path, Path)
        assert len(server.headers) >= 2
        assert all(headers["X-Mirror"] == "key" for headers in server.headers)
        assert server.headers[0]["Cookie"] == "session=abc"
        # ffmpeg takes cookies with their domain, so that it never gives them to another host that it is sent on to; on
        # a port of its own, as here, it holds them back.
        reading = getter._reading(getter._find(Window("v", 1, 3)))
        assert "session=abc; path=/; domain=127.0.0.1;\r\n" in reading


@pytest.mark.usefixtures("quick")
def test_a_full_disk_stops_the_stage_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = tmp_path / "ffmpeg"
    full.write_text("#!/bin/sh\necho 'Error writing trailer: No space left on device' >&2\nexit 1\n")
    full.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with Server(lambda name: wav(marked(1))) as server, pytest.raises(UserError, match="the disk is full"):
        list(fetcher(tmp_path / "cache", server).fetch([Window("v", 0, 1)]))


@needs_tools
@pytest.mark.usefixtures("quick")
def test_a_stream_that_breaks_off_is_not_taken_for_a_video_that_ends(tmp_path: Path) -> None:
    subprocess.run(
        ["ffmpeg", "-loglevel", "error", "-f", "lavfi", "-i", "sine=d=14", "-c:a", "libopus", tmp_path / "v.webm"],
        check=True,
    )
    data = (tmp_path / "v.webm").read_bytes()
    with Server(lambda name: data, ranges=False) as server:  # without ranges nothing can be sought in this container
        getter = fetcher(tmp_path / "cache", server)
        getter.url = server.url + "/{ytid}.webm"
        (missing,) = getter.fetch([Window("v", 7.0, 11.0)])
    assert isinstance(missing, Missing)
    assert missing.transient
    assert "broke off after 0.0 s of 4 s (Input/output error)" in missing.reason
    assert not [*(tmp_path / "cache").iterdir()]


@pytest.mark.slow
@needs_tools
@pytest.mark.usefixtures("quick")
def test_videos_that_are_gone_are_counted_and_the_rest_comes_in_order(tmp_path: Path) -> None:
    files: dict[str, bytes | int] = {
        "-dash.wav": wav(marked(6)), "gone.wav": 404, "down.wav": 503, "page.wav": b"<html>no audio here</html>",
        "brief.wav": wav(marked(3)), "ends.wav": wav(marked(1)), "silent.wav": wav(np.zeros(6 * RATE, np.float32)),
        "last.wav": wav(marked(6)),
    }  # fmt: skip
    rows = [row(name.removesuffix(".wav"), 2, 4, f"Caption of {name}.") for name in files]
    table = write_table(tmp_path / "t.csv", rows)
    with Server(lambda name: files[name]) as server:
        clips, rejected = gather(table, fetcher(tmp_path / "cache", server))
        assert [clip.track_id for clip in clips] == ["-dash", "last"]
        for clip in clips:
            assert clip.caption == f"Caption of {clip.track_id}.wav."
            assert pitches(clip.samples, clip.rate) == pytest.approx([540, 560], abs=1)
        reasons = {name.split("(")[1].rstrip(")"): reason for name, reason in rejected.items()}
        assert reasons.keys() == {"gone", "down", "page", "brief", "ends", "silent"}
        assert "gone: " in reasons["gone"]
        assert "404" in reasons["gone"]
        assert "not fetched: " in reasons["down"]
        assert "503" in reasons["down"]
        assert "gone: the video ends before 2 s" in reasons["ends"]
        assert "too short: 1.00 s" in reasons["brief"]
        assert "silent" in reasons["silent"]
        # Once more, in place of a run that was killed: only what may have come back is asked for.
        before = server.requests.copy()
        files["down.wav"] = wav(marked(6))
        again, _ = gather(table, fetcher(tmp_path / "cache", server))
        assert [clip.track_id for clip in again] == ["-dash", "down", "last"]
        assert {name for name in server.requests if server.requests[name] != before[name]} == {"down.wav", "page.wav"}


@needs_tools
@pytest.mark.usefixtures("quick")
def test_after_many_failures_in_a_row_the_site_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "GIVE_UP_AFTER", 4)
    windows = [Window(f"v{n}", 0, 1) for n in range(40)]
    with Server(lambda name: 429) as server:
        found = list(fetcher(tmp_path, server, workers=2, attempts=1).fetch(windows))
        assert all(isinstance(one, Missing) and one.transient for one in found)
        assert len(server.requests) <= 4 + 2
    assert not list(tmp_path.glob("*.gone"))


def asked(getter: Fetcher, windows: list[Window], server: Server) -> tuple[list[Path | Missing], set[str]]:
    """What a fetch gives, and the ids that were asked for."""
    before = server.requests.copy()
    found = list(getter.fetch(windows))
    return found, {name.removesuffix(".wav") for name in server.requests if server.requests[name] > before[name]}


@pytest.mark.slow
@needs_tools
@pytest.mark.usefixtures("quick")
def test_what_is_gone_is_asked_for_again_at_another_address_or_if_told_so(tmp_path: Path) -> None:
    windows = [Window(name, 0, 1) for name in ("a", "lost", "b")]
    files: dict[str, bytes | int] = {"a.wav": wav(marked(1)), "lost.wav": 404, "b.wav": wav(marked(1))}
    with Server(lambda name: files[name.removeprefix("mirror/")]) as server:
        found, names = asked(fetcher(tmp_path, server), windows, server)
        assert names == {"a", "lost", "b"}
        assert [isinstance(one, Missing) for one in found] == [False, True, False]
        found, names = asked(fetcher(tmp_path, server), windows, server)
        assert names == set()
        assert isinstance(found[1], Missing)
        assert re.fullmatch("gone: .*404.*; found on an earlier run", found[1].reason)
        mirror = fetcher(tmp_path, server)
        mirror.url = server.url + "/mirror/{ytid}.wav"
        assert asked(mirror, windows, server)[1] == {"mirror/lost"}
        assert asked(fetcher(tmp_path, server, retry_gone=True), windows, server)[1] == {"lost"}
        # A release before this one wrote the reason alone.
        mark = tmp_path / f"{windows[1].name}.gone"
        mark.write_text("Video unavailable\n")
        found, names = asked(fetcher(tmp_path, server), windows, server)
        assert (found[1], names) == (Missing("gone: Video unavailable; found on an earlier run"), set())
        files["lost.wav"] = wav(marked(1))
        found, names = asked(fetcher(tmp_path, server, retry_gone=True), windows, server)
        assert all(isinstance(one, Path) for one in found)
        assert not mark.exists()


@needs_tools
@pytest.mark.usefixtures("quick")
def test_many_that_are_gone_in_a_row_are_believed_only_if_others_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "GIVE_UP_AFTER", 5)
    windows = [Window("there", 0, 1), *(Window(f"v{n}", 0, 1) for n in range(12))]
    files: dict[str, bytes | int] = {"there.wav": wav(marked(1))}
    with Server(lambda name: files.get(name, 404)) as server:
        found = list(fetcher(tmp_path, server, workers=1).fetch(windows))
        assert sum(isinstance(one, Missing) and one.reason.startswith("gone") for one in found) == 12
        assert len(list(tmp_path.glob("*.gone"))) == 12
        for mark in tmp_path.glob("*.gone"):
            mark.unlink()
        files.clear()  # now even what was there once is not
        found = list(fetcher(tmp_path, server, workers=1).fetch(windows))
        assert sum(isinstance(one, Missing) and one.reason.startswith("not tried: the last 5") for one in found) == 7
        assert not list(tmp_path.glob("*.gone"))


@pytest.mark.slow
@needs_tools
@pytest.mark.usefixtures("quick")
def test_requests_keep_their_distance_whatever_the_number_of_workers(tmp_path: Path) -> None:
    data = wav(marked(1))
    windows = [Window(f"v{n}", 0, 1) for n in range(6)]
    with Server(lambda name: data) as server:
        for pause_s, least in ((0.3, 1.5), (0.0, 0.0)):  # the second time all is there
            getter = fetcher(tmp_path, server, workers=6, pause_s=pause_s)
            started = time.monotonic()
            assert all(isinstance(one, Path) for one in getter.fetch(windows))
            assert time.monotonic() - started >= least
    with Server(lambda name: 500) as server:
        getter = fetcher(tmp_path, server, workers=1, pause_s=0.3, attempts=3)
        started = time.monotonic()
        assert all(isinstance(one, Missing) for one in getter.fetch([Window("w", 0, 1)]))
        assert time.monotonic() - started >= 0.6  # a repeated request waits for its turn like a first one


@needs_tools
@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_a_killed_fetch_goes_on_where_it_was() -> None:
    """The small twin of `python -m benchmarks.musiccaps`, which does the same at 5,521 rows."""
    outcome = musiccaps_benchmark.measure(rows=60, kill_after=25, workers=3)
    assert outcome.asked_again == 0
    assert outcome.in_flight <= 3 + 1  # and one that was found to be gone, which is marked once another one comes
    assert (outcome.clips, outcome.rejected) == (57, 3)
