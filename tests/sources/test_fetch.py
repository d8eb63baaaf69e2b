"""Fetching the audio of MusicCaps, where no server is asked: reasons, the cache, and an ffmpeg that does not end."""

import os
import shutil
from pathlib import Path

import pytest

from musicgen_lite.errors import UserError
from musicgen_lite.sources import fetch as fetching
from musicgen_lite.sources import ffmpeg
from musicgen_lite.sources.fetch import Fetcher


def test_a_cache_that_is_a_file_is_named(tmp_path: Path) -> None:
    pytest.importorskip("yt_dlp", reason="the package yt-dlp is not installed (make env)")
    if shutil.which("ffmpeg") is None:
        pytest.skip("the program ffmpeg is not installed (apt-get install ffmpeg)")
    (tmp_path / "cache").write_text("mine")
    with pytest.raises(UserError, match=r"data\.musiccaps\.cache: .*cache: no folder can be made here"):
        Fetcher(tmp_path / "cache", "{ytid}", 1, 0.0, 1)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("ERROR: [youtube] -0Gj8-vB1q4: Private video. Sign in if you've been granted access", "Private video"),
        ("ERROR: [youtube] abc: Video unavailable", "Video unavailable"),
        ("ERROR: [generic] v: Unable to download webpage: HTTP Error 404: Not Found (caused by <x>)",
         "Unable to download webpage: HTTP Error 404: Not Found"),
        ("http://127.0.0.1:80/x.wav: Invalid data found", "Invalid data found"),
        ("", "no reason given"),
    ],
)  # fmt: skip
def test_reasons_are_short_and_equal_for_equal_causes(message: str, expected: str) -> None:
    assert fetching._plain(message) == expected


def test_an_ffmpeg_that_never_ends_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = tmp_path / "ffmpeg"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(ffmpeg.FfmpegError, match=r"more than 0\.2 s"):
        ffmpeg.cut("x", tmp_path / "y.wav", 0.0, 1.0, timeout=0.2)
