"""What fadtk, kadtk, frechet-audio-distance and torchvggish themselves gave for stated arrays (benchmarks/fad_tools.py), and what is given here."""

import json
from typing import Any

import numpy as np
import pytest

from benchmarks import fad_tools
from benchmarks.fad_tools import DIM, RATE, SEED, WINDOWS, evaluated, recording, reference
from musicgen_lite.scoring.audio import fad, kad, resampling
from musicgen_lite.scoring.audio.fad import ClipRows
from musicgen_lite.scoring.audio.protocols import FadtkEmbedder
from musicgen_lite.scoring.statistics import intervals
from musicgen_lite.scoring.statistics.intervals import Bootstrap
from tests.support.standins import ToneClap

FOUND: dict[str, Any] = json.loads(fad_tools.FOUND.read_text(encoding="utf-8"))


def rows(sets: np.ndarray) -> ClipRows:
    return ClipRows(sets.reshape(-1, DIM).astype(np.float32), np.full(len(sets), WINDOWS))


BASE, OWN = rows(reference()), rows(evaluated())


def test_the_arrays_are_those_that_the_tools_were_given() -> None:
    given = {"reference": reference(), "evaluated": evaluated(), "heard": recording(RATE, 12.3, 3)}
    assert {name: fad_tools.digest(array) for name, array in given.items()}.items() <= FOUND["digests"].items()


def test_fad_is_that_of_fadtk_but_for_its_means_in_half_precision() -> None:
    assert fad.distance(BASE.moments(), OWN.moments()) == pytest.approx(FOUND["fadtk"]["fad"], rel=1e-4)


def test_fad_of_each_clip_is_that_of_fadtk_but_for_its_means_in_half_precision() -> None:
    assert fad.per_clip(BASE.moments(), OWN) == pytest.approx(FOUND["fadtk"]["each"], rel=1e-3)


def test_fadtks_infinity_is_that_of_fadtk() -> None:
    assert fad.fadtk_infinity_withheld(OWN) is None
    own = fad.fadtk_infinity(BASE, OWN, SEED)
    assert own == pytest.approx(FOUND["fadtk"]["infinity"], rel=1e-3)
    assert own == fad.fadtk_infinity(BASE.moments(), OWN, SEED)
    assert own != fad.fadtk_infinity(BASE, OWN, SEED + 1)
    assert "480 windows" in str(fad.fadtk_infinity_withheld(OWN.take(np.arange(40))))


@pytest.mark.parametrize("rate", fad_tools.RESAMPLED)
def test_resampling_is_that_of_torchaudio_as_fadtk_uses_it_and_of_julius(rate: int) -> None:
    wave = (recording(rate, 0.01, 6) / 32768.0).astype(np.float32)
    by_torchaudio, by_julius = resampling.by_torchaudio(wave, rate, 48000), resampling.by_julius(wave, rate, 16000)
    assert np.allclose(by_torchaudio[::3], FOUND["resamplers"][f"torchaudio {rate}"], atol=1e-5)
    assert np.allclose(by_julius, FOUND["resamplers"][f"julius {rate}"], atol=1e-5)
    assert len(by_torchaudio) == 480
    assert resampling.by_julius(wave, rate, rate) is wave


class Hearing(ToneClap):
    """A CLAP with the stand-in's embedding."""

    rate, window_s, dim = RATE, 10.0, 4

    def embed_audio(self, windows: Any) -> np.ndarray:
        return np.array([fad_tools.heard(window) for window in windows], np.float32)


def test_fadtks_windows_and_rounding_are_those_of_fadtk() -> None:
    wave = (recording(RATE, 12.3, 3) / 32768.0).astype(np.float32)
    assert np.array_equal(FadtkEmbedder(Hearing()).embed(wave, RATE), np.array(FOUND["fadtk"]["rows"], np.float32))


def test_kad_is_that_of_kadtk_by_the_median_of_what_is_scored() -> None:
    (value,), draws = kad.kadtk_distances(BASE, [OWN], Bootstrap(50))
    assert value == pytest.approx(FOUND["kadtk"]["kad"], rel=1e-4)
    assert kad.kadtk_bandwidth(OWN) == pytest.approx(FOUND["kadtk"]["median_of_evaluated"], rel=1e-6)
    assert kad.kadtk_bandwidth(BASE) == pytest.approx(FOUND["kadtk"]["median_of_reference"], rel=1e-6)
    assert FOUND["kadtk"]["median_of_evaluated"] != FOUND["kadtk"]["median_of_reference"]
    assert draws.shape == (50, 1)
    assert draws.std() > 0


def brute(base: ClipRows, own: ClipRows, drawn: list[np.ndarray]) -> float:
    """KAD by all pairs of rows of drawn clips, but for those of a row with itself and of two copies of one clip."""

    def copies(one: ClipRows, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        clips = np.repeat(np.repeat(np.arange(one.n), counts), WINDOWS)
        rows = clips * WINDOWS + np.tile(np.arange(WINDOWS), counts.sum())
        return one.rows[rows].astype(float), clips, np.repeat(np.arange(counts.sum()), WINDOWS)

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.asarray(np.exp(-np.square(a[:, None] - b[None]).sum(-1) / (2 * kad.kadtk_bandwidth(own) ** 2 + 1e-8)))

    sets = [copies(base, drawn[0]), copies(own, drawn[1])]
    within = []
    for rows, clip, copy in sets:
        other = (clip[:, None] != clip[None]) | (copy[:, None] == copy[None])
        np.fill_diagonal(other, False)
        within.append(kernel(rows, rows)[other].mean())
    return float(100 * (sum(within) - 2 * kernel(sets[0][0], sets[1][0]).mean()))


def test_kadtks_kad_is_the_mean_over_pairs_for_drawn_clips_too() -> None:
    base, own, few = BASE.take(np.arange(5)), OWN.take(np.arange(4)), Bootstrap(3)
    (value,), draws = kad.kadtk_distances(base, [own], few)
    assert value == pytest.approx(brute(base, own, [np.ones(5, int), np.ones(4, int)]), rel=1e-6)
    drawn = [next(intervals.resamples(n, one)) for n, one in ((5, few), (4, few.independent))]
    expected = [brute(base, own, [drawn[0][i], drawn[1][i]]) for i in range(3)]
    assert draws[:, 0] == pytest.approx(expected, rel=1e-6)


def test_fad_is_that_of_frechet_audio_distance() -> None:
    found = FOUND["frechet-audio-distance"]["fad"]
    assert fad.distance(BASE.moments(), OWN.moments()) == pytest.approx(found, rel=1e-5)
