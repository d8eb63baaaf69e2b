"""Waveforms: what is written is read, what cannot be used is named."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from musicgen_lite.errors import UserError
from musicgen_lite.io import audio
from tests.support.audio_files import mp3, tone, without_length


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
    assert expected in str(audio.invalid_reason(samples, 16000, min_seconds=1.0))
    assert audio.invalid_reason(tone(1.0, 16000), 16000, min_seconds=1.0) is None


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
    with pytest.raises(UserError, match=r"\.wav or \.flac"):
        audio.write(tmp_path / "a.mp3", tone(1, 16000), 16000)


def test_start_past_the_end_is_named() -> None:
    buffer = io.BytesIO()
    soundfile.write(buffer, tone(1, 8000), 8000, format="WAV")
    with pytest.raises(UserError, match=r"ends at 1\.00 s"):
        audio.read(buffer.getvalue(), start_s=2.0, name="short.wav")


def test_an_mp3_that_does_not_state_its_length_is_read_to_its_end(tmp_path: Path) -> None:
    whole, bare = mp3(4, 8), without_length(mp3(4, 8))
    tags = b"ID3\x04\x00\x00" + bytes([0, 0, 40, 0]) + bytes(40 * 128)  # a picture, such as most files carry
    with soundfile.SoundFile(io.BytesIO(bare)) as file:
        assert file.frames / file.samplerate < 6  # what libsndfile believes
    expected, rate = audio.read(whole)
    assert expected.shape[1] / rate == 12.0
    for data in (bare, tags + bare, bare + b"TAG" + bytes(125)):
        found, _ = audio.read(data)
        assert found.shape[1] / rate == pytest.approx(12.0, abs=0.1)
    path = tmp_path / "bare.mp3"
    path.write_bytes(bare)
    start = found.shape[1] - expected.shape[1]  # one frame and what an encoder puts before the first sample
    start = next(k for k in range(start + 1) if np.allclose(found[:, k : k + 2000], expected[:, :2000], atol=1e-3))
    part, _ = audio.read(path, 9.0, 10.0)
    np.testing.assert_allclose(part, expected[:, 9 * rate - start :][:, :rate], atol=1e-3)
    with pytest.raises(UserError, match=r"bare\.mp3: starts at 20\.0 s, but the file ends before that"):
        audio.read(path, 20.0)


def test_joined_mp3s_are_read_to_the_end_of_the_last(tmp_path: Path) -> None:
    one = mp3(1, 3)
    found, rate = audio.read(one + mp3(3, 5))
    assert found.shape[1] / rate == pytest.approx(12.0, abs=0.2)
    assert audio.read(one)[0].shape[1] / rate == 4.0


def test_an_mp3_without_a_length_that_breaks_off_is_read_up_to_the_break() -> None:
    bare = without_length(mp3(2, 6))
    found, rate = audio.read(bare[: len(bare) // 2])
    whole, _ = audio.read(bare)
    assert 3.0 < found.shape[1] / rate < 6.0
    np.testing.assert_allclose(found[:, : 3 * rate], whole[:, : 3 * rate], atol=1e-6)


def test_samples_in_16_bit_are_those_that_flac_stores() -> None:
    halves = np.arange(-(2**16) - 3, 2**16 + 4) / 2**16  # each number, what lies between two, and beyond full scale
    for samples in (halves.astype(np.float32), np.random.default_rng(0).uniform(-1.2, 1.2, 9999).astype(np.float32)):
        stored = audio.to_16_bit(samples)
        decoded, _ = audio.decode(audio.encode_flac(samples, 16000))
        assert np.array_equal(decoded * 2**15, stored)
        assert np.array_equal(audio.to_16_bit(decoded), stored)
