"""Spectrograms put levels and frequencies where they belong; every picture is the same bytes for the same input."""

import io

import matplotlib
import numpy as np
import pytest
from PIL import Image

from musicgen_lite.report import plots

RATE = 16000


def sine(hz: float, amplitude: float = 0.05, seconds: float = 2.0) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def plot_area(png: bytes) -> np.ndarray:
    """Palette indices inside the axes, `[ROWS, COLUMNS]`."""
    pixels = np.asarray(Image.open(io.BytesIO(png)))
    return pixels[plots.TOP : plots.TOP + plots.ROWS, plots.LEFT : plots.LEFT + plots.COLUMNS]


def test_a_spectrogram_is_small_and_the_same_bytes_again() -> None:
    noise = (0.1 * np.random.default_rng(0).standard_normal(5 * RATE)).astype(np.float32)
    png = plots.spectrogram(noise, RATE)
    assert Image.open(io.BytesIO(png)).size == (500, 180)
    assert len(png) < 50_000
    assert plots.spectrogram(noise, RATE) == png


def test_the_users_matplotlibrc_changes_nothing() -> None:
    expected = plots.spectrogram(sine(440), RATE), plots.nll_curves([(0, 5), (1, 4)], [], {"unigram": 5})
    plots._axes.cache_clear()
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "image.cmap": "jet"}):
        assert (plots.spectrogram(sine(440), RATE), plots.nll_curves([(0, 5), (1, 4)], [], {"unigram": 5})) == expected


@pytest.mark.parametrize("hz", [100, 440, 1000, 3000, 7000])
def test_a_sine_lies_at_its_frequency(hz: float) -> None:
    area = plot_area(plots.spectrogram(sine(hz), RATE))
    row = int(area[:, plots.COLUMNS // 2].argmax())
    mel = 2595 * np.log10(1 + np.array([hz, RATE / 2]) / 700)
    assert abs(row - (plots.ROWS * (1 - mel[0] / mel[1]) - 0.5)) <= 1.5


def test_colours_stand_for_levels_in_db() -> None:
    loud, soft = (plot_area(plots.spectrogram(sine(1000, amplitude), RATE)) for amplitude in (0.05, 0.005))
    middle = plots.COLUMNS // 2
    expected = 20 / (plots.CEILING_DB - plots.FLOOR_DB) * (plots.LEVELS - 1)
    assert abs(int(loud[:, middle].max()) - int(soft[:, middle].max()) - expected) <= 1
    # A sine of -26 dB spreads a little over the bins of its band.
    level = plots.FLOOR_DB + int(loud[:, middle].max()) / (plots.LEVELS - 1) * (plots.CEILING_DB - plots.FLOOR_DB)
    assert -34 < level < -25


def test_common_axes_leave_the_rest_of_a_short_clip_black() -> None:
    area = plot_area(plots.spectrogram(sine(1000, seconds=2.0), RATE, seconds=4.0, top_hz=4000))
    assert area[:, : plots.COLUMNS // 2 - 10].max() > 20
    assert area[:, plots.COLUMNS // 2 + 10 :].max() == 0
    row = int(area[:, plots.COLUMNS // 4].argmax())
    assert 0.4 < row / plots.ROWS < 0.6, "1 kHz lies around the middle of a mel axis that ends at 4 kHz"


@pytest.mark.parametrize("samples", [np.zeros(0), np.array([0.0, np.nan]), np.zeros((2, 9))])
def test_what_is_no_waveform_is_refused(samples: np.ndarray) -> None:
    with pytest.raises(ValueError, match="finite samples"):
        plots.spectrogram(samples, RATE)


DRAWINGS = {
    "curves": lambda shift, theme: plots.nll_curves([(0, 5.5), (9, 5 + shift)], [(9, 5.1)], {"unigram": 5.4}, theme),
    "frames": lambda shift, theme: plots.frame_curves(
        [0, 10, 25], {"model": {"all": [5.1, 5 + shift], "q1": [4.1, 4]}, "copy": {"all": [5, 4], "q1": [4, 3]}}, theme
    ),
    "bars": lambda shift, theme: plots.codebook_bars([4.1 + shift, 5], {"unigram": [5.2, 5.4]}, theme),
    "runs": lambda shift, theme: plots.run_curves([([(0, 5.5)], [(9, 5 + shift)])], {"unigram": 5.4}, theme),
    "codebooks": lambda shift, theme: plots.run_codebooks([[(4.1 + shift, 4, 4.5)], [(5, 4.9, 5.1)]], theme),
}


@pytest.mark.parametrize("name", DRAWINGS)
def test_charts_are_the_same_bytes_again_and_follow_data_and_theme(name: str) -> None:
    draw = DRAWINGS[name]
    first = draw(0, "light")
    assert draw(0, "light") == first
    assert len({first, draw(0.3, "light"), draw(0, "dark")}) == 3
    assert Image.open(io.BytesIO(first)).width == 960


@pytest.mark.parametrize("name", ["curves", "frames", "bars"])
def test_a_legend_is_no_wider_than_its_plot(name: str) -> None:
    """A wider one would squeeze the axes into a part of the picture."""
    baselines = {"unigram": 5.44, "bigram": 5.12, "copy": 4.97}
    series = {"all": [5.1, 5], "q1": [4.1, 4]}
    png = {
        "curves": lambda: plots.nll_curves([(0, 5.5), (9, 5)], [(9, 5.1)], baselines),
        "frames": lambda: plots.frame_curves([0, 10, 25], dict.fromkeys(("model", "copy", "bigram"), series)),
        "bars": lambda: plots.codebook_bars([4.1, 5], {key: [value] * 2 for key, value in baselines.items()}),
    }[name]()
    opaque = np.asarray(Image.open(io.BytesIO(png)))[:, :, 3] > 0
    lower = opaque[opaque.shape[0] // 2 :].any(axis=0)
    assert np.flatnonzero(lower).max() > 0.9 * opaque.shape[1]
    assert not opaque[:, -1].any()
