"""Audio files that are unusual."""

import io

import numpy as np
import soundfile


def tone(seconds: float, rate: int, hz: float = 440.0, level: float = 0.5) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def mp3(quiet_s: float, loud_s: float, rate: int = 44100) -> bytes:
    """A tone, or silence where there is none, and noise in variable bitrate: the first frames are far smaller than most."""
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, round(loud_s * rate)).astype(np.float32)
    buffer = io.BytesIO()
    sound = np.concatenate([tone(quiet_s, rate, level=0.3), noise])
    soundfile.write(buffer, sound, rate, format="MP3", bitrate_mode="VARIABLE", compression_level=0.5)
    return buffer.getvalue()


def without_length(data: bytes) -> bytes:
    """An MP3 without its first frame, the header of Xing's that states how many frames follow."""
    assert b"Xing" in data[:200]
    return data[data.index(data[:2], 200) :]
