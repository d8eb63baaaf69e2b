"""Other tools' protocols: what their CLAP is given, held against their code step by step."""

from collections.abc import Sequence

import numpy as np
import pytest

from musicgen_lite.scoring.audio.embedders import ClapEmbedder
from musicgen_lite.scoring.audio.protocols import AttmClap, AttmEmbedder, FadtkEmbedder
from tests.support.standins import RATE, ToneClap, sine


class Listening(ToneClap):
    """A CLAP that keeps the windows that it was given; each has its own embedding."""

    def embed_audio(self, windows: Sequence[np.ndarray]) -> np.ndarray:
        self.windows = list(windows)
        return np.stack([[w[0], w[RATE // 2], 1 / 3] for w in windows]).astype(np.float32)


def chunks_of_fadtk(audio: np.ndarray, rate: int, seconds: int) -> list[np.ndarray]:
    """What fadtk 1.1 gives its CLAP of a 16-bit file, step by step as its code has it."""
    wave = (audio / 32768.0).reshape(1, -1)
    wave = ((np.clip(wave, a_min=-1.0, a_max=1.0) * 32767.0).astype(np.int16) / 32767.0).astype(np.float32)
    found = []
    for start in range(0, wave.shape[1], rate):
        chunk = wave[:, start : start + seconds * rate]
        found.append(np.pad(chunk, ((0, 0), (0, seconds * rate - chunk.shape[1])))[0])
    return found


@pytest.mark.parametrize("samples", [RATE // 2, 3 * RATE, 5 * RATE + 7])
def test_fadtks_windows_are_those_of_fadtk(samples: int) -> None:
    clap, rng = Listening(), np.random.default_rng(0)
    clap.window_s = 3.0
    stored = rng.integers(-32768, 32768, samples).astype(np.int16)
    rows = FadtkEmbedder(clap).embed((stored / 32768.0).astype(np.float32), RATE)
    expected = chunks_of_fadtk(stored, RATE, 3)
    assert len(rows) == len(expected) == len(clap.windows)
    for window, chunk in zip(clap.windows, expected, strict=True):
        assert np.array_equal(window, chunk)
        assert window.dtype == chunk.dtype
    # It keeps embeddings in half precision.
    assert np.array_equal(rows[:, 2], np.full(len(rows), np.float16(1 / 3), np.float32))


def test_fadtks_protocol_rounds_to_16_bits_as_a_file_does() -> None:
    clap, wave = Listening(), np.array([0.3 / 32768, 0.7 / 32768, -2.0, 1.0] * (RATE // 4), np.float32)
    FadtkEmbedder(clap).embed(wave, RATE)
    assert (clap.windows[0][:4] * 32767).round(3).tolist() == [0.0, 0.0, -32767.0, 32766.0]
    assert FadtkEmbedder(clap).fingerprint != ClapEmbedder(clap).fingerprint
    clap.window_s = 2.0
    assert FadtkEmbedder(clap).fingerprint != FadtkEmbedder(Listening()).fingerprint


def noise(seconds: float, level: float = 0.1) -> np.ndarray:
    return level * np.random.default_rng(1).uniform(-1, 1, round(seconds * RATE)).astype(np.float32)


class Ends(Listening):
    """One with windows of ten seconds, that tells both ends of each."""

    window_s = 10.0

    def embed_audio(self, windows: Sequence[np.ndarray]) -> np.ndarray:
        return np.stack([[w[0], w[-1], 1 / 3] for w in windows]).astype(np.float32)


def test_attms_fad_is_fadtks_of_the_first_ten_seconds() -> None:
    wave = noise(12.3)
    rows = AttmEmbedder(Ends()).embed(wave, RATE)
    assert rows.shape == (10, 3)
    assert np.array_equal(rows, FadtkEmbedder(Ends()).embed(wave[: 10 * RATE], RATE))
    assert not np.array_equal(rows, FadtkEmbedder(Ends()).embed(wave, RATE)[:10])
    assert AttmEmbedder(Ends()).fingerprint != FadtkEmbedder(Ends()).fingerprint


def heard_by_stable_audio_metrics(wave: np.ndarray) -> np.ndarray:
    """What stable-audio-metrics gives its CLAP, step by step as its code has it: peak at -1 dB, 16 bits."""
    wave = np.float32(np.power(10.0, -1.0 / 20.0) / np.max(np.abs(wave))) * wave  # in NumPy 1, which its CLAP needs
    return ((np.clip(wave, a_min=-1.0, a_max=1.0) * 32767.0).astype(np.int16) / 32767.0).astype(np.float32)


@pytest.mark.parametrize("seconds", [6.0, 10.0, 11.5])
def test_attms_clap_score_is_stable_audio_metrics_of_the_first_ten_seconds(seconds: float) -> None:
    inner, wave = Listening(), noise(seconds)
    inner.window_s = 10.0
    clap = AttmClap(inner)
    rows = clap.embed_clip(wave, RATE)
    (window,) = inner.windows
    assert np.array_equal(window, heard_by_stable_audio_metrics(wave[: 10 * RATE]))
    assert np.array_equal(ClapEmbedder(clap, "attm").embed(wave, RATE), rows)
    assert clap.fingerprint not in (inner.fingerprint, AttmEmbedder(inner).fingerprint)


def test_attms_clap_hears_tones_as_captions_and_silence_as_it_is() -> None:
    clap = AttmClap(ToneClap())
    assert np.array_equal(clap.embed_text(["440", "880"]), ToneClap().embed_text(["440", "880"]))
    found = clap.similarity(["440", "880"], RATE, [sine(440), sine(440, level=0.01), sine(440)], [0, 0, 1])
    assert found[:2] == pytest.approx(1, abs=1e-3)
    assert found[2] < 0.9
    assert np.isfinite(clap.embed_clip(np.zeros(RATE, np.float32), RATE)).all()
