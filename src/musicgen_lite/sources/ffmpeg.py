"""The system's ffmpeg: cuts a window out of a file or an address that soundfile cannot read."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from musicgen_lite.errors import UserError

TIMEOUT_S = 600


class FfmpegError(Exception):
    """ffmpeg failed; the message is its reason."""


def require(what: str) -> str:
    """The path of ffmpeg; UserError says that `what` needs it and how to install it."""
    found = shutil.which("ffmpeg")
    if found is None:
        raise UserError(
            f"{what} needs the program ffmpeg, which is not on the PATH; install it (Debian and Ubuntu: apt-get install "
            "ffmpeg, macOS: brew install ffmpeg, Windows: winget install ffmpeg) and run the same command again"
        )
    return found


def cut(
    source: str,
    target: Path,
    start_s: float,
    end_s: float | None,
    options: Sequence[str] = (),
    timeout: float = TIMEOUT_S,
) -> str:
    """Decode `source` from `start_s` to `end_s` into `target`, at its own rate and channels; gives ffmpeg's messages.

    source: a file or an address; options: of ffmpeg for reading it; target: `.wav` (32-bit float) or `.flac` (16-bit).
    Seeking is exact: what lies before the window is decoded and dropped. Raises FfmpegError with the reason, and after
    `timeout` seconds.
    """
    sound = (
        ["-c:a", "pcm_f32le", "-rf64", "auto"] if target.suffix == ".wav" else ["-c:a", "flac", "-sample_fmt", "s16"]
    )
    length = [] if end_s is None else ["-t", f"{end_s - start_s:.6f}"]
    command = [
        require(str(source)), "-nostdin", "-hide_banner", "-loglevel", "error", "-y", *options,
        "-ss", f"{start_s:.6f}", *length, "-i", source, "-vn", "-map_metadata", "-1", *sound, str(target.absolute()),
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        raise FfmpegError(f"ffmpeg took more than {timeout:g} s") from None
    output = done.stderr.strip()
    if done.returncode:
        # The first line has the reason; the last one often only says that everything failed.
        raise FfmpegError(output.splitlines()[0] if output else f"ffmpeg ended with {done.returncode}")
    return output
