"""Equal audio under several names: one track, whatever the files are called, and never in two splits."""

import hashlib
from collections.abc import Callable, Hashable, Iterable, Iterator
from pathlib import Path

import numpy as np
import soundfile

from musicgen_lite.io import audio
from musicgen_lite.io.clips import Clip
from musicgen_lite.io.hashing import file_sha256
from musicgen_lite.io.progress import track
from musicgen_lite.sources.cutting import needs_ffmpeg
from musicgen_lite.sources.tables import Reject

MIDDLE_S = 1.0


def equal_files(paths: Iterable[Path]) -> list[list[Path]]:
    """Groups of files whose decoded audio is equal; files that cannot be read are in no group.

    Only files of equal length with an equal second in their middle are decoded completely. Files that ffmpeg reads are
    compared by their bytes.
    """
    found = [list(dict.fromkeys(paths))]
    for key in (_length, _middle_digest, _audio_digest):
        found = [group for some in found for group in _by(key, some)]
    return found


def _by(key: Callable[[Path], Hashable], paths: list[Path]) -> list[list[Path]]:
    """The groups of two files or more that share a key."""
    groups: dict[Hashable, list[Path]] = {}
    for path in track(paths, "compare files", unit="file") if key is _audio_digest else paths:
        try:
            groups.setdefault(key(path), []).append(path)
        except (soundfile.LibsndfileError, OSError):  # cutting rejects it with the reason
            continue
    return [group for group in groups.values() if len(group) > 1]


def _length(path: Path) -> Hashable:
    if needs_ffmpeg(path):
        return "bytes", path.stat().st_size
    with audio.opened(path) as (file, frames):
        return file.samplerate, frames


def _middle_digest(path: Path) -> Hashable:
    if needs_ffmpeg(path):
        return None
    with audio.opened(path) as (file, frames):
        file.seek((frames or 0) // 2)
        return _digest(audio.to_mono(audio.frames(file, round(MIDDLE_S * file.samplerate))))


def _audio_digest(path: Path) -> Hashable:
    if needs_ffmpeg(path):
        return file_sha256(path)
    digest, loudest = hashlib.sha256(), 0.0
    with audio.opened(path) as (file, _):
        while (block := audio.to_mono(audio.frames(file, file.samplerate))).size:
            digest.update(block.tobytes())
            loudest = max(loudest, audio.peak(block))
    # Silence is no evidence that two files are the same track.
    return path if loudest < 10 ** (audio.SILENCE_DB / 20) else digest.digest()


def _digest(samples: np.ndarray) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(samples).tobytes()).digest()


def drop_leaked(clips: Iterable[Clip], reject: Reject) -> Iterator[Clip]:
    """The clips without those whose samples, in 16 bits, are already in another split, for which `reject(id, reason)` is called."""
    seen: dict[bytes, tuple[str, str]] = {}
    for clip in clips:
        # As it is stored, so that it does not matter whether it was read from there.
        digest = _digest(audio.to_16_bit(clip.samples))
        split, first = seen.setdefault(digest, (clip.split, f"{clip.id} ({clip.track_id})"))
        if split == clip.split:
            yield clip
        else:
            reject(f"{clip.id} ({clip.track_id})", f"duplicate: the same audio as {first}, which is in {split}")
