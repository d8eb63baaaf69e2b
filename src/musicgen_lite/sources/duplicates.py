"""Equal sound under several names: one track, whatever the files are called, and never in two splits."""

import hashlib
from collections.abc import Callable, Hashable, Iterable, Iterator
from pathlib import Path

import numpy as np
import soundfile

from musicgen_lite.io import audio
from musicgen_lite.io.clips import Clip
from musicgen_lite.io.progress import track
from musicgen_lite.sources.cutting import needs_ffmpeg
from musicgen_lite.sources.tables import Reject

PART_S = 1.0


def equal_files(paths: Iterable[Path]) -> list[list[Path]]:
    """The files whose decoded sound is equal, a list for each such sound; what can be read by nobody is like nothing.

    Only files of equal length and an equal second in their middle are decoded as a whole. What is read through ffmpeg is
    compared by its bytes.
    """
    found = [list(dict.fromkeys(paths))]
    for key in (_length, _middle, _whole):
        found = [group for some in found for group in _by(key, some)]
    return found


def _by(key: Callable[[Path], Hashable], paths: list[Path]) -> list[list[Path]]:
    """The groups of two files or more that share a key."""
    groups: dict[Hashable, list[Path]] = {}
    for path in track(paths, "compare files", unit="file") if key is _whole else paths:
        try:
            groups.setdefault(key(path), []).append(path)
        except (soundfile.LibsndfileError, OSError):  # cutting says why
            continue
    return [group for group in groups.values() if len(group) > 1]


def _length(path: Path) -> Hashable:
    if needs_ffmpeg(path):
        return "bytes", path.stat().st_size
    with audio.opened(path) as (file, frames):
        return file.samplerate, frames


def _middle(path: Path) -> Hashable:
    if needs_ffmpeg(path):
        return None
    with audio.opened(path) as (file, frames):
        file.seek((frames or 0) // 2)
        return _digest(audio.to_mono(audio.frames(file, round(PART_S * file.samplerate))))


def _whole(path: Path) -> Hashable:
    if needs_ffmpeg(path):
        with path.open("rb") as data:
            return hashlib.file_digest(data, "sha256").digest()
    digest, loudest = hashlib.sha256(), 0.0
    with audio.opened(path) as (file, _):
        while (block := audio.to_mono(audio.frames(file, file.samplerate))).size:
            digest.update(block.tobytes())
            loudest = max(loudest, audio.peak(block))
    # Silence is not used, and says nothing of where it comes from.
    return path if loudest < 10 ** (audio.SILENCE_DB / 20) else digest.digest()


def _digest(samples: np.ndarray) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(samples).tobytes()).digest()


def apart(clips: Iterable[Clip], reject: Reject) -> Iterator[Clip]:
    """The clips but those whose very samples are in another split already; `reject(id, reason)` hears of these."""
    seen: dict[bytes, tuple[str, str]] = {}
    for clip in clips:
        split, first = seen.setdefault(_digest(clip.samples), (clip.split, f"{clip.id} ({clip.track_id})"))
        if split == clip.split:
            yield clip
        else:
            reject(f"{clip.id} ({clip.track_id})", f"duplicate: the very sound of {first}, which is in {split}")
