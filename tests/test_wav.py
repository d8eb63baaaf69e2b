"""WAV bytes written from beginning to end."""

import io

import numpy as np
import soundfile

from musicgen_lite import wav


def test_a_file_written_in_parts_is_the_one_that_is_written_at_once() -> None:
    samples = np.random.default_rng(0).normal(0, 0.6, 5000).astype(np.float32)
    whole = io.BytesIO()
    soundfile.write(whole, np.clip(samples, -1, 1), 16000, format="WAV", subtype="PCM_16")
    parts = wav.header(16000, 5000) + b"".join(wav.pcm(part) for part in np.split(samples, [1, 800, 4999]))
    read, rate = soundfile.read(io.BytesIO(parts), dtype="int16")
    assert rate == 16000
    assert np.array_equal(read, soundfile.read(io.BytesIO(whole.getvalue()), dtype="int16")[0])
    assert read.min() == -32768
    assert read.max() == 32767
