"""A window of a file, cut into mono clips of one length and rate, block by block: memory does not grow with length."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import soundfile

from musicgen_lite.io import audio
from musicgen_lite.sources import ffmpeg

FFMPEG_SUFFIXES = (".m4a", ".mp4", ".aac", ".webm")
# Cut points are rounded to samples and packets: a clip that is this much too short is padded with zeros.
TOLERANCE_S = 0.01
# Headers of compressed files may be wrong by this much though no audio is lost.
HEADER_TOLERANCE_S = 0.1
MAX_DC = 0.1


def needs_ffmpeg(path: Path) -> bool:
    """Whether a file is read through ffmpeg, by its suffix."""
    return path.suffix.lower() in FFMPEG_SUFFIXES


def invalid_reason(piece: np.ndarray, rate: int, seconds: float) -> str | None:
    """Why a clip `[T]` cannot be trained on, or None: the reasons of `audio.invalid_reason`, or a constant offset."""
    reason = audio.invalid_reason(piece, rate, seconds)
    if reason:
        return reason
    offset = float(piece.mean(dtype=np.float64))
    if audio.rms_db(piece - offset) < audio.SILENCE_DB:
        return f"silent: nothing but a DC offset of {offset:.2f}"
    if abs(offset) > MAX_DC:
        return f"DC offset: {offset:.2f} of full scale, at most {MAX_DC:g} is allowed; filter it out of the file"
    return None


@contextlib.contextmanager
def _opened(path: Path, start_s: float, end_s: float | None) -> Iterator[tuple[soundfile.SoundFile, int | None, float]]:
    """The open file at `path` or ffmpeg's copy of the window, its frames, and the second of the original where it begins."""
    if not needs_ffmpeg(path):
        with audio.opened(path) as (file, length):
            yield file, length, 0.0
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "window.wav"
        ffmpeg.cut(f"file:{path.absolute()}", copy, start_s, end_s)
        with audio.opened(copy) as (file, length):
            yield file, length, start_s


def cut(
    path: Path,
    start_s: float,
    end_s: float | None,
    rate: int,
    seconds: float,
    reject: Callable[[str], None],
    shortest: float | None = None,
) -> Iterator[tuple[int, np.ndarray]]:
    """Consecutive clips, numbered and float32 `[T]` of exactly `seconds` at `rate` Hz, of the file's window.

    The rest at the window's end is a shorter clip if it lasts `shortest` seconds (None: `seconds`), else it is dropped.
    Levels are kept, but peaks beyond full scale are scaled down. `reject(reason)` is called for every invalid clip, and
    for a window that the file does not fill.
    """
    try:
        with _opened(path, start_s, end_s) as (file, frames, origin):
            yield from _cut(file, frames, origin, start_s, end_s, rate, seconds, shortest or seconds, reject)
    except soundfile.LibsndfileError as error:
        reject(f"not audio: {str(error).rsplit(':', 1)[-1].strip()} {audio.FORMATS} are read, m4a through ffmpeg")
    except ffmpeg.FfmpegError as error:
        reject(f"not audio: ffmpeg cannot read it ({error})")


def _cut(
    file: soundfile.SoundFile,
    frames: int | None,
    origin: float,
    start_s: float,
    end_s: float | None,
    rate: int,
    seconds: float,
    shortest: float,
    reject: Callable[[str], None],
) -> Iterator[tuple[int, np.ndarray]]:
    rate_in, size, number = file.samplerate, round(seconds * file.samplerate), 0
    position = first = round((start_s - origin) * rate_in)
    end = frames if end_s is None else round((end_s - origin) * rate_in)
    if frames is not None and (position >= frames):
        past = "it" if origin else f"{frames / rate_in:.2f} s"
        reject("empty" if not start_s else f"window: starts at {start_s:g} s, but the file ends before {past}")
        return
    if position:
        file.seek(position)
    while end is None or position < end:
        block = audio.frames(file, size if end is None else min(size, end - position))
        position += block.shape[1]
        if first and position == first:
            reject(f"window: starts at {start_s:g} s, but the file ends before it")
            return
        whole = block.shape[1] >= size - TOLERANCE_S * rate_in
        if not whole and block.shape[1] < (shortest - TOLERANCE_S) * rate_in:
            break
        length_s = seconds if whole else max(shortest, block.shape[1] / rate_in)
        piece = _fit_length(audio.resample(audio.to_mono(block), rate_in, rate), round(length_s * rate))
        reason = invalid_reason(piece, rate, shortest)
        if reason:
            kind, _, more = reason.partition(":")
            reject(f"{kind}: from {start_s + number * seconds:g} s on{':' if more else ''}{more}")
        else:
            yield number, piece
        number += 1
        if not whole:
            break
    _report_shortfall(
        origin + position / rate_in, frames and origin + frames / rate_in, start_s, end_s, shortest, number, reject
    )


def _fit_length(piece: np.ndarray, length: int) -> np.ndarray:
    """`[T]` at exactly `length` samples; scaled down only if resampling made it overshoot full scale."""
    piece = np.pad(piece[:length], (0, max(0, length - len(piece))))
    loudest = audio.peak(piece)
    return piece / loudest if np.isfinite(loudest) and loudest > 1.0 else piece


def _report_shortfall(
    reached: float,
    length: float | None,
    start_s: float,
    end_s: float | None,
    seconds: float,
    number: int,
    reject: Callable[[str], None],
) -> None:
    """Reject a window that gave less audio than due: `reached` and `length` (by the header) in seconds of the file."""
    expected = length if length is None or end_s is None else min(end_s, length)
    given = f"{number} whole clip(s) before that"
    if expected is not None and reached < expected - HEADER_TOLERANCE_S:
        reject(f"truncated: it should go on to {expected:.2f} s, but can be read to {reached:.2f} s only; {given}")
    elif end_s is not None and reached < end_s - HEADER_TOLERANCE_S:
        reject(f"window: ends at {end_s:g} s, but the file at {reached:.2f} s; {given}")
    elif not number:
        reject(f"too short: {reached - start_s:.2f} s, at least {seconds:g} s are needed")
