"""One waveform: read, write, resample, check.

Waveforms are float32 in [-1, 1]: `[C, T]` where channels matter, `[T]` mono elsewhere. Rates are in Hz.
"""

import contextlib
import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr

from musicgen_lite.errors import UserError
from musicgen_lite.io import files, mpeg

SILENCE_DB = -60.0
FORMATS = "wav, flac, ogg and mp3"
WRITTEN = ("wav", "flac")
# Some formats give this many where they do not know their length.
UNKNOWN_FRAMES = 2**48
BLOCK = 4096  # frames read at once from data that may be truncated: a failed read loses all of them


@contextlib.contextmanager
def opened(source: str | Path | bytes | BinaryIO) -> Iterator[tuple[soundfile.SoundFile, int | None]]:
    """An open file for `frames`, and its number of frames: None where that is unknown before its end.

    Raises soundfile's LibsndfileError where it is not audio.
    """
    with contextlib.ExitStack() as stack:
        stream = io.BytesIO(source) if isinstance(source, bytes) else source
        file = stack.enter_context(soundfile.SoundFile(str(stream) if isinstance(stream, Path) else stream))
        if file.format == "MP3":
            data = stack.enter_context(open(stream, "rb")) if isinstance(stream, str | Path) else stream
            place = data.tell()
            endless = mpeg.endless(data)
            if endless is None:
                data.seek(place)  # where libsndfile reads on
            else:
                file = stack.enter_context(soundfile.SoundFile(endless))
        yield file, file.frames if file.frames < UNKNOWN_FRAMES else None


def frames(file: soundfile.SoundFile, count: int | None) -> np.ndarray:
    """The next at most `count` frames `[C, T]`, or all that are left: fewer where the data ends, or is damaged."""
    parts, left = [np.zeros((0, file.channels), np.float32)], math.inf if count is None else count
    with contextlib.suppress(soundfile.LibsndfileError):  # as what breaks off within a frame ends
        while left > 0 and len(part := file.read(int(min(BLOCK, left)), dtype="float32", always_2d=True)):
            parts.append(part)
            left -= len(part)
    return np.ascontiguousarray(np.concatenate(parts).T)


def read(
    source: str | Path | bytes | BinaryIO, start_s: float = 0.0, end_s: float | None = None, name: str | None = None
) -> tuple[np.ndarray, int]:
    """Read `[C, T]` and its rate from a file, bytes or stream, or only the seconds from `start_s` to `end_s`.

    Raises UserError naming the file where it is missing, not audio, damaged, or ends before `start_s`.
    """
    name = name or (str(source) if isinstance(source, str | Path) else "audio")
    if isinstance(source, str | Path) and not Path(source).is_file():
        raise UserError(f"{name}: no such audio file")
    try:
        with opened(source) as (file, length):
            rate = file.samplerate
            start = round(start_s * rate)
            if start and length is not None and start >= length:
                raise UserError(f"{name}: starts at {start_s} s, but the file ends at {length / rate:.2f} s")
            file.seek(start)
            count = None if end_s is None else max(0, round(end_s * rate) - start)
            if length is None:
                samples = frames(file, count)
            else:
                samples = file.read(-1 if count is None else count, dtype="float32", always_2d=True).T.copy()
            if start and count != 0 and not samples.size:
                raise UserError(f"{name}: starts at {start_s} s, but the file ends before that")
            return samples, rate
    except soundfile.LibsndfileError as error:
        raise UserError(f"{name}: not audio that can be read ({error}); {FORMATS} are read") from error


def decode(data: bytes, name: str | None = None) -> tuple[np.ndarray, int]:
    """Mono samples `[T]` and rate of an encoded file in memory."""
    samples, rate = read(data, name=name)
    return to_mono(samples), rate


def num_frames(seconds: float, rate: int, frame_rate: float) -> int:
    """Frames that a codec gives for so many seconds at `rate` Hz: the last one may be filled in part.

    The one rule for lengths: seconds are rounded to samples, and samples are rounded up to frames.
    """
    hop = round(rate / frame_rate)  # a whole number, unlike the frame rate of some codecs
    return max(1, math.ceil(round(seconds * rate) / hop))


def to_mono(samples: np.ndarray) -> np.ndarray:
    """`[C, T]` to `[T]`: the mean over channels."""
    return np.ascontiguousarray(samples.mean(axis=0, dtype=np.float32))


def resample(samples: np.ndarray, rate_in: int, rate_out: int) -> np.ndarray:
    """Resample `[..., T]` by soxr at high quality; equal rates give the input back."""
    if rate_in == rate_out:
        return samples
    return np.ascontiguousarray(soxr.resample(samples.T, rate_in, rate_out, quality="HQ").T.astype(np.float32))


def rms_db(samples: np.ndarray) -> float:
    """Root mean square level in dB relative to full scale; -inf dB is given as -200."""
    power = float(np.mean(np.square(samples, dtype=np.float64))) if samples.size else 0.0
    return 10.0 * float(np.log10(max(power, 1e-20)))


def peak(samples: np.ndarray) -> float:
    """Largest absolute sample, 0 for an empty waveform."""
    return float(np.abs(samples).max(initial=0.0))


def clipped_fraction(samples: np.ndarray) -> float:
    """Fraction of samples at or beyond full scale (16-bit)."""
    return float(np.mean(np.abs(samples) >= 32767 / 32768)) if samples.size else 0.0


def invalid_reason(samples: np.ndarray, rate: int, min_seconds: float = 0.0) -> str | None:
    """Why a waveform `[T]` cannot be used; None for a valid one."""
    if samples.size == 0:
        return "empty"
    if not np.isfinite(samples).all():
        return "holds NaN or infinite samples"
    # Half a codec frame of tolerance: cut points are rounded to samples.
    if samples.shape[-1] < min_seconds * rate - rate * 0.01:
        return f"too short: {samples.shape[-1] / rate:.2f} s, at least {min_seconds:g} s are needed"
    if rms_db(samples) < SILENCE_DB:
        return f"silent: {rms_db(samples):.0f} dB, above {SILENCE_DB:.0f} dB is needed"
    return None


def encode_flac(samples: np.ndarray, rate: int) -> bytes:
    """16-bit FLAC bytes of `[T]` or `[C, T]`; samples beyond full scale are clipped. The same input gives the same bytes."""
    return _encode(samples, rate, "FLAC")


def to_16_bit(samples: np.ndarray) -> np.ndarray:
    """Samples as FLAC stores them, int16 of the same shape: `decode` of its bytes gives these numbers / 2 ** 15."""
    return np.clip(np.rint(samples * np.float32(2**15)), -(2**15), 2**15 - 1).astype(np.int16)


def _encode(samples: np.ndarray, rate: int, file_format: str) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(samples, -1.0, 1.0).T, rate, format=file_format, subtype="PCM_16")
    return buffer.getvalue()


def check_place(path: str | Path, *inputs: str | Path | None) -> None:
    """Raise UserError where `write` could not write to `path`, or would replace one of the `inputs`; before the work."""
    _suffix(path)
    files.check_place(path, *inputs)


def _suffix(path: str | Path) -> str:
    suffix = Path(path).suffix.lower().lstrip(".")
    if suffix not in WRITTEN:
        raise UserError(f"{path}: audio is written as .wav or .flac, found {f'.{suffix}' if suffix else 'no suffix'}")
    return suffix


def write(path: str | Path, samples: np.ndarray, rate: int) -> None:
    """Write `[T]` or `[C, T]` as 16-bit flac or wav, by the suffix of `path`, whole or not at all."""
    data = _encode(samples, rate, _suffix(path).upper())
    with files.atomic_path(path) as part:
        part.write_bytes(data)
