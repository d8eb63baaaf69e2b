"""Waveforms: what is written is read, what cannot be used is named."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from musicgen_lite import audio
from musicgen_lite.errors import UserError


def tone(seconds: float, rate: int, hz: float = 440.0, level: float = 0.5) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


@pytest.mark.parametrize("suffix", ["flac", "wav"])
def test_written_audio_is_read_back_within_16_bits(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    stereo = np.stack([tone(0.5, 16000), tone(0.5, 16000, 220)])
    audio.write(path, stereo, 16000)
    samples, rate = audio.read(path)
    assert rate == 16000
    np.testing.assert_allclose(samples, stereo, atol=1 / 32767)
    part, _ = audio.read(path, 0.1, 0.3)
    np.testing.assert_array_equal(part, samples[:, 1600:4800])
    assert audio.encode_flac(stereo, 16000) == audio.encode_flac(stereo, 16000)


@pytest.mark.parametrize(("rate_in", "rate_out"), [(8000, 16000), (44100, 16000), (192000, 16000), (16000, 32000)])
def test_resampling_keeps_a_tone(rate_in: int, rate_out: int) -> None:
    expected = tone(1.0, rate_out)
    found = audio.resample(tone(1.0, rate_in), rate_in, rate_out)
    assert abs(len(found) - len(expected)) <= 1
    middle = slice(rate_out // 4, rate_out // 2)
    np.testing.assert_allclose(found[middle], expected[middle], atol=2e-3)


def test_resampling_many_channels_is_resampling_each() -> None:
    both = np.stack([tone(0.2, 44100), tone(0.2, 44100, 1000)])
    np.testing.assert_array_equal(audio.resample(both, 44100, 16000)[1], audio.resample(both[1], 44100, 16000))


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        (np.zeros(0, np.float32), "empty"),
        (np.zeros(16000, np.float32), "silent"),
        (np.full(16000, np.nan, np.float32), "NaN"),
        (np.append(tone(1, 16000), np.inf).astype(np.float32), "infinite"),
        (tone(0.2, 16000), "too short: 0.20 s"),
    ],
)
def test_faults_are_named(samples: np.ndarray, expected: str) -> None:
    assert expected in str(audio.fault(samples, 16000, min_seconds=1.0))
    assert audio.fault(tone(1.0, 16000), 16000, min_seconds=1.0) is None


def test_levels() -> None:
    assert audio.rms_db(tone(1, 16000, level=1.0)) == pytest.approx(-3.01, abs=0.01)
    assert audio.peak(np.array([0.1, -0.7], np.float32)) == pytest.approx(0.7)
    assert audio.clipped_fraction(np.array([1.0, -1.0, 0.5, 0.0], np.float32)) == 0.5


def test_files_that_are_not_audio(tmp_path: Path) -> None:
    text = tmp_path / "text.wav"
    text.write_text("not audio")
    for path in (text, tmp_path / "absent.wav"):
        with pytest.raises(UserError, match=path.name):
            audio.read(path)
    with pytest.raises(UserError, match=r"\.flac or \.wav"):
        audio.write(tmp_path / "a.mp3", tone(1, 16000), 16000)


def test_start_past_the_end_is_named() -> None:
    buffer = io.BytesIO()
    soundfile.write(buffer, tone(1, 8000), 8000, format="WAV")
    with pytest.raises(UserError, match=r"ends at 1\.00 s"):
        audio.read(buffer.getvalue(), start_s=2.0, name="short.wav")
