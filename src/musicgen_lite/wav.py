"""A WAV file that is written from its beginning to its end, such as into a pipe: 16 bits, mono."""

import io
import struct

import numpy as np
import soundfile


def header(rate: int, samples: int) -> bytes:
    """The bytes before the samples of a file of `samples` at `rate` Hz."""
    size = 2 * samples
    riff = struct.pack("<4sI4s", b"RIFF", 36 + size, b"WAVE")
    return riff + struct.pack("<4sIHHIIHH4sI", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16, b"data", size)


def pcm(samples: np.ndarray) -> bytes:
    """Samples `[T]` as 16-bit integers, as libsndfile makes them in a file; those beyond full scale are clipped."""
    buffer = io.BytesIO()
    clipped = np.clip(samples, -1.0, 1.0)
    soundfile.write(buffer, clipped, 1, format="RAW", subtype="PCM_16", endian="LITTLE")
    return buffer.getvalue()
