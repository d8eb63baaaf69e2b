"""What the comparison plays is small, in time with what was scored, and as loud."""

import numpy as np
import pytest

from musicgen_lite.io import audio
from musicgen_lite.report import mp3
from tests.report.conftest import RATE, tone


def test_a_sound_keeps_its_length_level_and_shape_at_less_than_half_the_size() -> None:
    wave = tone(220, 5.0, noise=0.005)
    data = mp3.encode(wave, RATE)
    found, rate = audio.decode(data)
    assert (len(found), rate) == (len(wave), RATE)
    assert np.square(wave).sum() > 300 * np.square(wave - found).sum()
    assert audio.rms_db(found) == pytest.approx(audio.rms_db(wave), abs=0.1)
    assert len(data) < len(audio.encode_flac(wave, RATE)) / 2
    assert mp3.encode(wave, RATE) == data


def test_full_scale_is_cut_and_does_not_wrap() -> None:
    square = np.sign(np.sin(2 * np.pi * 220 * np.arange(RATE) / RATE)).astype(np.float32)
    found, _ = audio.decode(mp3.encode(square, RATE))
    assert np.corrcoef(square, found)[0, 1] > 0.97
