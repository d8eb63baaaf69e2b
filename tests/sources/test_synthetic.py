"""The synthetic corpus: notes, sound, and that both repeat to the byte."""

import dataclasses
import hashlib
import math
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from musicgen_lite.io import audio
from musicgen_lite.sources import synthetic
from musicgen_lite.sources.synthetic import drums, instruments
from musicgen_lite.sources.synthetic.compose import DRUM_PITCHES, Piece, compose
from musicgen_lite.sources.synthetic.render import render
from musicgen_lite.sources.synthetic.styles import ENERGY, SCALES, STYLES

RATE = 16000
FRAME = 320


@pytest.fixture(scope="module")
def pieces() -> list[Piece]:
    return [compose(seed) for seed in range(800)]


@pytest.fixture(scope="module")
def one_of_each(pieces: list[Piece]) -> list[Piece]:
    return list({piece.genre: piece for piece in pieces}.values())


@pytest.fixture(scope="module")
def sounds(one_of_each: list[Piece]) -> list[np.ndarray]:
    return [render(piece, 8.0, RATE) for piece in one_of_each]


def test_styles_choose_only_from_what_exists() -> None:
    for style in STYLES.values():
        assert {*style.leads, *style.chords, *style.basses} <= set(instruments.VOICES)
        assert not style.kit or style.kit in drums.KITS
        assert {mood for moods in style.moods for mood in moods} <= set(ENERGY)
        rhythms = (*style.lead_rhythms, *style.chord_rhythms, *style.bass_rhythms)
        assert all(
            len(rhythm) == 16 for rhythm in (*rhythms, *(steps for kit in style.drums for steps in kit.values()))
        )
        assert {drum for kit in style.drums for drum in kit} <= set(DRUM_PITCHES)


def test_tempo_is_on_the_frame_grid_and_every_class_is_populated(pieces: list[Piece]) -> None:
    for piece in pieces:
        frames = 60.0 / piece.tempo / 0.02
        assert frames == pytest.approx(round(frames), abs=1e-9)
    shares = [sum(piece.tempo_class == name for piece in pieces) / len(pieces) for name in ("slow", "medium", "fast")]
    assert min(shares) > 0.2
    assert {piece.genre for piece in pieces} == set(STYLES)


def _different(pieces: Iterable[Piece]) -> tuple[int, int]:
    """How many note sequences there are, and how many by pitch and place in the bar alone."""
    both = [
        (p.digest(), hash(tuple((round(n.start_s * p.tempo * 0.4), n.pitch, n.track) for n in p.notes))) for p in pieces
    ]
    return len({digest for digest, _ in both}), len({score for _, score in both})


def test_every_piece_is_another(pieces: list[Piece]) -> None:
    assert _different(pieces) == (len(pieces), len(pieces))


@pytest.mark.slow
def test_twenty_thousand_pieces_are_all_different() -> None:
    assert _different(compose(seed) for seed in range(20_000)) == (20_000, 20_000)


def test_harmony_is_diatonic_and_starts_on_the_first_beat(pieces: list[Piece]) -> None:
    keys = ("C", "C sharp", "D", "E flat", "E", "F", "F sharp", "G", "A flat", "A", "B flat", "B")
    for piece in pieces[:200]:
        tones = {(keys.index(piece.key) + step) % 12 for step in SCALES[piece.mode]}
        assert {note.pitch % 12 for note in piece.notes if note.track != piece.drums} <= tones
        assert {note.track for note in piece.notes} == set(piece.instruments)
        assert all(
            note.duration_s > 0 and 1 <= note.velocity <= 127 and 24 <= note.pitch <= 100 for note in piece.notes
        )
        assert min(note.start_s for note in piece.notes) < 60 / piece.tempo


def test_a_longer_piece_begins_with_the_shorter_one() -> None:
    short, long = compose(17, 5.0), compose(17, 12.0)
    assert short.notes == tuple(note for note in long.notes if note.start_s < 5.0)


def test_levels(one_of_each: list[Piece], sounds: list[np.ndarray]) -> None:
    for piece, samples in zip(one_of_each, sounds, strict=True):
        assert samples.dtype == np.float32
        assert samples.shape == (8 * RATE,)
        assert audio.invalid_reason(samples, RATE, 8.0) is None
        assert audio.rms_db(samples) == pytest.approx(-20.0, abs=0.5), piece.genre
        assert audio.peak(samples) < 0.95
        assert abs(float(samples.mean())) < 1e-3
        # Both the prompt window and the target have something to hear.
        assert audio.rms_db(samples[: 3 * RATE]) > -26
        assert audio.rms_db(samples[3 * RATE :]) > -26


def test_energy_is_where_music_has_it(sounds: list[np.ndarray]) -> None:
    hz = np.fft.rfftfreq(8 * RATE, 1 / RATE)
    for samples in sounds:
        power = np.abs(np.fft.rfft(samples)) ** 2
        share = power / power.sum()
        assert share[hz < 30].sum() < 0.02
        assert share[hz < 5000].sum() > 0.95
        assert share[(hz > 250) & (hz < 5000)].sum() > 0.1


def test_hats_are_present_but_do_not_dominate(pieces: list[Piece]) -> None:
    piece = next(piece for piece in pieces if piece.genre == "techno")
    power = np.abs(np.fft.rfft(render(piece, 8.0, RATE))) ** 2
    assert 0.002 < power[5000 * 8 :].sum() / power.sum() < 0.05


def test_a_repeated_bar_is_an_identical_waveform(pieces: list[Piece]) -> None:
    piece = next(piece for piece in pieces if piece.genre == "house" and round(piece.tempo) == 120)
    beat = tuple(note for note in piece.notes if note.track == piece.drums)
    samples = render(dataclasses.replace(piece, notes=beat, reverb=0.0), 8.0, RATE)
    bar = round(4 * 60 / piece.tempo * RATE)
    assert bar % FRAME == 0
    np.testing.assert_allclose(samples[bar : 2 * bar], samples[2 * bar : 3 * bar], atol=1e-6)
    assert np.abs(samples[bar : 2 * bar] - samples[bar + 100 : 2 * bar + 100]).max() > 0.1


def test_the_beat_of_a_techno_clip_can_be_measured(pieces: list[Piece]) -> None:
    """Autocorrelation of the onset strength, over all lags of 60 to 200 BPM, peaks at the beat."""
    hop, window = FRAME // 2, np.hanning(512)
    for piece in [piece for piece in pieces if piece.genre == "techno"][:4]:
        samples = render(piece, 8.0, RATE)
        frames = np.lib.stride_tricks.sliding_window_view(samples, 512)[::hop] * window
        # Kick and bass alone: a techno beat has its kick on every quarter.
        level = np.log1p(100 * np.abs(np.fft.rfft(frames))[:, 1:5].sum(axis=1))
        onset = np.maximum(0.0, np.diff(level))
        onset -= onset.mean()
        lags = np.arange(30, 101)
        strength = [float(onset[lag:] @ onset[:-lag]) / (len(onset) - lag) for lag in lags]
        measured = 60.0 / (lags[int(np.argmax(strength))] * hop / RATE)
        # An octave error is no error of the beat grid.
        octaves = math.log2(measured / piece.tempo)
        assert abs(octaves - round(octaves)) < 0.06, (measured, piece.tempo)


def test_rain_is_heard_where_the_piece_has_it(pieces: list[Piece]) -> None:
    piece = next(piece for piece in pieces if piece.rain and piece.genre == "classical")
    wet, dry = render(piece, 8.0), render(dataclasses.replace(piece, rain=False), 8.0)
    # The quietest frames above 2 kHz: between the notes there is rain, or nothing.
    floors = []
    for samples in (wet, dry):
        frames = samples[: len(samples) // 512 * 512].reshape(-1, 512) * np.hanning(512)
        high = np.square(np.abs(np.fft.rfft(frames)))[:, 64:160].sum(axis=1)
        floors.append(10 * np.log10(np.quantile(high, 0.1)))
    assert floors[0] > floors[1] + 6


@pytest.mark.parametrize("pitch", [40, 60, 84])
def test_notes_are_in_tune_and_free_of_aliases(pitch: int) -> None:
    tone = instruments.note("synth bass", pitch, True, RATE)[: 2 * RATE] * np.hanning(2 * RATE)
    power = np.abs(np.fft.rfft(tone)) ** 2
    hz = np.fft.rfftfreq(2 * RATE, 1 / RATE)
    fundamental = 440 * 2 ** ((pitch - 69) / 12)
    distance = np.abs(hz - fundamental * np.maximum(1, np.round(hz / fundamental)))
    assert power[distance > 12].sum() < 1e-4 * power.sum()
    assert power[hz > 0.48 * RATE].sum() < 1e-6 * power.sum()


def test_harder_notes_are_brighter() -> None:
    def centroid(samples: np.ndarray) -> float:
        power = np.abs(np.fft.rfft(samples[: RATE // 2])) ** 2
        return float((power * np.arange(len(power))).sum() / power.sum())

    for name in ("piano", "saw lead", "acoustic guitar", "trumpet", "distorted guitar"):
        hard, soft = (instruments.note(name, 60, loud, RATE) for loud in (True, False))
        assert centroid(hard) > 1.02 * centroid(soft), name


def test_any_rate_gives_the_same_music() -> None:
    piece = compose(5)
    low, high = render(piece, 4.0, 16000), render(piece, 4.0, 32000)
    assert high.shape == (128000,)
    down = audio.resample(high, 32000, 16000)
    bass_low, bass_high = (np.abs(np.fft.rfft(x))[: 4 * 400] for x in (low, down))
    assert np.corrcoef(bass_low, bass_high)[0, 1] > 0.97


def test_the_same_seed_gives_the_same_bytes_whatever_came_before() -> None:
    seeds = range(40, 44)
    forwards = [synthetic.clip(seed, "train", 4.0).samples.tobytes() for seed in seeds]
    instruments.note.cache_clear()
    backwards = [synthetic.clip(seed, "train", 4.0).samples.tobytes() for seed in reversed(seeds)]
    assert forwards == backwards[::-1]
    assert len(set(forwards)) == len(forwards)


def test_clips_carry_what_they_are() -> None:
    clip = next(synthetic.clips(1234, 1, "validation", seconds=3.0))
    piece = compose(1234, 3.0)
    assert (clip.id, clip.track_id, clip.split, clip.rate) == ("syn-00001234", "syn-00001234", "validation", 16000)
    assert clip.samples.shape == (48000,)
    assert clip.extra["genre"] == piece.genre
    assert clip.extra["tempo"] == piece.tempo
    assert clip.extra["states_tempo"] == ("BPM" in clip.caption)


_DIGEST = """
import hashlib
from musicgen_lite.compute import IN_THIS_PROCESS, Processes
from musicgen_lite.sources import synthetic
if __name__ == "__main__":
    clips = synthetic.clips(7, 8, "test", 1.0, engine={engine})
    text = [(clip.id, clip.caption, clip.aspects, hashlib.sha256(clip.samples.tobytes()).hexdigest()) for clip in clips]
    print(hashlib.sha256(repr(text).encode()).hexdigest())
"""


@pytest.mark.slow
def test_other_processes_and_workers_give_the_same_clips(tmp_path: Path) -> None:
    clips = synthetic.clips(7, 8, "test", 1.0)
    text = [(c.id, c.caption, c.aspects, hashlib.sha256(c.samples.tobytes()).hexdigest()) for c in clips]
    expected = hashlib.sha256(repr(text).encode()).hexdigest()
    environment = os.environ | {"PYTHONPATH": str(Path(synthetic.__file__).parents[3])}
    for engine in ("IN_THIS_PROCESS", "Processes(2)"):
        script = tmp_path / f"{engine}.py"
        script.write_text(_DIGEST.format(engine=engine))
        command = [sys.executable, str(script)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        assert done.stdout.strip() == expected, engine
