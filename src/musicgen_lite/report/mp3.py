"""MP3 for playback: two fifths of the size of FLAC, at 33 dB SNR, where the embedded codec has 5 dB."""

import io

import numpy as np
import soundfile

SCALE = 0.95  # LAME turns down what it encodes, so that it does not clip
LEVEL = 0.6  # of compression; 64 kbit/s for mono at 16 kHz


def encode(samples: np.ndarray, rate: int) -> bytes:
    """MP3 of `[T]` at its own level. The same input gives the same bytes, which Vorbis and Opus do not.

    The bit rate is constant, so that browsers find every place in it.
    """
    data = io.BytesIO()
    soundfile.write(
        data, np.clip(samples / SCALE, -1, 1), rate, format="MP3", subtype="MPEG_LAYER_III", bitrate_mode="CONSTANT",
        compression_level=LEVEL,
    )  # fmt: skip
    return data.getvalue()
