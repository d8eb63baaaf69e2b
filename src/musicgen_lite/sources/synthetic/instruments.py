"""The waveform of one note of each pitched instrument, by additive wavetable synthesis.

A note is two single-cycle tables of the same harmonics, a bright and a dark one, read at the note's frequency and
faded from one to the other under an amplitude envelope: the cheap equivalent of a filter that closes. Tables hold no
harmonic above the band limit, so nothing aliases; distortion is made at four times the rate and filtered down.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from musicgen_lite.io import audio

TABLE = 4096
BAND_LIMIT = 0.47  # of the rate: 7.5 kHz at 16 kHz
OVERSAMPLING = 4
HARD_VELOCITY = 84
VIBRATO_HZ = 5.5

Spectrum = Callable[[np.ndarray], np.ndarray]


def _saw(k: np.ndarray) -> np.ndarray:
    return 1.0 / k


def _square(k: np.ndarray) -> np.ndarray:
    return (k % 2) / k


def _triangle(k: np.ndarray) -> np.ndarray:
    return (k % 2) / k**2


def _plucked(place: float, slope: float) -> Spectrum:
    """A string struck or plucked at a fraction of its length, where harmonics with a node there are missing."""
    return lambda k: np.abs(np.sin(np.pi * k * place)) / k**slope


def _drawbars(*levels: float) -> Spectrum:
    """Levels of the first harmonics, nothing above them."""
    return lambda k: np.where(k <= len(levels), np.array(levels)[np.minimum(k, len(levels)) - 1], 0.0)


@dataclass(frozen=True)
class Voice:
    """How an instrument sounds. Times in seconds, cutoffs in Hz, detune and vibrato in cents, gain in dB."""

    spectrum: Spectrum
    bright: float  # cutoff of the filter at the onset
    dark: float  # and after it has closed
    sweep: float  # time constant of its closing
    attack: float = 0.004
    decay: float = 1.0  # time constant towards the sustain level
    sustain: float = 0.0
    release: float = 0.06
    seconds: float = 2.0  # longest note
    detune: tuple[float, ...] = (0.0,)
    vibrato: float = 0.0
    noise: float = 0.0  # level of breath or pick
    drive: float = 0.0  # distortion
    stack: tuple[int, ...] = (0,)  # semitones sounded by one note
    partials: tuple[tuple[float, float, float], ...] = ()  # inharmonic: (frequency ratio, level, decay)
    gain: float = 0.0


_PAD_DETUNE = (-9.0, 0.0, 8.0)
VOICES = {
    "sub bass": Voice(_drawbars(1.0, 0.18, 0.05), 900, 500, 0.2, decay=3.0, sustain=0.7, gain=3),
    "synth bass": Voice(_saw, 1800, 350, 0.12, decay=0.5, sustain=0.5, gain=1),
    "electric bass": Voice(_plucked(0.23, 1.2), 1600, 450, 0.25, decay=0.9, release=0.05, noise=0.02, gain=2),
    "upright bass": Voice(_plucked(0.4, 1.5), 1000, 300, 0.15, decay=0.6, release=0.08, noise=0.03, gain=3),
    "piano": Voice(_plucked(0.12, 1.25), 3200, 900, 0.35, decay=0.9, release=0.15, seconds=3.0, detune=(-1.0, 1.5), noise=0.015),
    "electric piano": Voice(
        _drawbars(1.0, 0.35, 0.12, 0.05), 3000, 900, 0.3, decay=1.0, release=0.12, seconds=3.0,
        partials=((7.1, 0.18, 0.08), (13.8, 0.05, 0.03)),
    ),
    "organ": Voice(_drawbars(1.0, 0.8, 0.6, 0.5, 0.0, 0.35, 0.0, 0.3), 5000, 5000, 1.0, attack=0.008, decay=9.0, sustain=1.0, release=0.04, seconds=3.0, vibrato=6.0, gain=-1),
    "string pad": Voice(_saw, 2600, 1800, 1.0, attack=0.12, decay=9.0, sustain=1.0, release=0.25, seconds=4.2, detune=_PAD_DETUNE, vibrato=5.0, gain=-3),
    "synth pad": Voice(_square, 600, 1700, 1.2, attack=0.2, decay=9.0, sustain=1.0, release=0.3, seconds=4.2, detune=(-7.0, 6.0), gain=-3),
    "synth stab": Voice(_saw, 4500, 700, 0.09, decay=0.25, sustain=0.15, release=0.1, seconds=2.4, detune=_PAD_DETUNE),
    "acoustic guitar": Voice(_plucked(0.17, 1.05), 4200, 800, 0.2, decay=0.6, release=0.12, seconds=2.0, noise=0.04),
    "banjo": Voice(_plucked(0.08, 0.7), 5500, 1400, 0.07, decay=0.22, release=0.08, seconds=1.0, noise=0.06),
    "electric guitar": Voice(_plucked(0.2, 1.0), 3000, 1200, 0.5, decay=1.2, release=0.08, seconds=2.4, noise=0.02, vibrato=8.0),
    "crunch guitar": Voice(_plucked(0.25, 1.0), 3200, 1500, 0.3, decay=0.8, sustain=0.15, release=0.05, drive=1.5, noise=0.02, gain=-1),
    "distorted guitar": Voice(_plucked(0.22, 0.9), 3600, 2200, 0.5, decay=2.5, sustain=0.3, release=0.04, seconds=2.6, drive=7.0, stack=(0, 7, 12), noise=0.03, gain=6),
    "lead guitar": Voice(_plucked(0.2, 1.0), 3500, 2400, 0.8, decay=3.0, sustain=0.5, release=0.06, seconds=2.4, drive=6.0, vibrato=25.0, gain=-1),
    "brass section": Voice(_saw, 1100, 2400, 0.07, attack=0.03, decay=0.4, sustain=0.75, release=0.08, detune=(-6.0, 5.0), vibrato=8.0),
    "trumpet": Voice(_saw, 1500, 3200, 0.08, attack=0.03, decay=0.4, sustain=0.8, release=0.06, vibrato=18.0, noise=0.01),
    "saxophone": Voice(lambda k: 1.0 / k**0.8, 2400, 1300, 0.2, attack=0.035, decay=0.6, sustain=0.75, release=0.07, vibrato=22.0, noise=0.05),
    "flute": Voice(_drawbars(1.0, 0.3, 0.12, 0.04, 0.02), 4000, 3000, 0.3, attack=0.05, decay=2.0, sustain=0.85, release=0.09, vibrato=20.0, noise=0.08),
    "harmonica": Voice(_drawbars(0.7, 1.0, 0.6, 0.7, 0.35, 0.3, 0.2, 0.1), 4500, 3500, 0.3, attack=0.03, decay=2.0, sustain=0.85, release=0.06, detune=(-5.0, 5.0), vibrato=16.0),
    "accordion": Voice(_saw, 3000, 2600, 0.5, attack=0.03, decay=9.0, sustain=1.0, release=0.07, seconds=2.4, detune=(-11.0, 0.0, 11.0)),
    "violin": Voice(_saw, 3000, 3800, 0.4, attack=0.07, decay=9.0, sustain=1.0, release=0.1, seconds=3.0, vibrato=28.0, noise=0.02),
    "bell": Voice(
        _drawbars(1.0), 6000, 6000, 1.0, attack=0.002, decay=0.9, release=0.4, seconds=2.4,
        partials=((2.76, 0.5, 0.35), (5.4, 0.22, 0.15), (8.93, 0.1, 0.06)),
    ),
    "vibraphone": Voice(
        _drawbars(1.0), 5000, 5000, 1.0, attack=0.003, decay=0.9, release=0.25, seconds=2.4, vibrato=4.0,
        partials=((4.0, 0.3, 0.2), (10.0, 0.06, 0.04)),
    ),
    "saw lead": Voice(_saw, 5500, 2000, 0.3, attack=0.005, decay=0.8, sustain=0.7, release=0.06, detune=(-8.0, 8.0), vibrato=6.0),
    "square lead": Voice(_square, 4500, 2200, 0.3, attack=0.004, decay=0.7, sustain=0.7, release=0.05, vibrato=10.0),
    "synth arpeggio": Voice(_saw, 4200, 900, 0.08, attack=0.003, decay=0.18, sustain=0.1, release=0.08, seconds=1.0, detune=(-4.0, 4.0)),
}  # fmt: skip


def frequency(pitch: int) -> float:
    """Hz of a MIDI pitch, A4 = 440 Hz."""
    return 440.0 * 2.0 ** ((pitch - 69) / 12)


def _table(spectrum: Spectrum, hz: float, cutoff: float, limit: float) -> np.ndarray:
    """One cycle `[TABLE + 1]` of the harmonics below `limit`, through a low pass of second order at `cutoff`."""
    k = np.arange(1, max(1, min(int(limit / hz), TABLE // 8)) + 1)
    # The filter follows the pitch half-way, or high notes would be dull.
    cutoff = cutoff + hz
    levels = spectrum(k) / np.sqrt(1.0 + (k * hz / cutoff) ** 4)
    bins = np.zeros(TABLE // 2 + 1, complex)
    # Phases spread as k^2 keep the peak of bright tables low.
    bins[k] = -1j * levels * np.exp(1j * 0.37 * (k - 1) * k)
    cycle = np.fft.irfft(bins, TABLE) * (TABLE / 2)
    return np.append(cycle, cycle[0]).astype(np.float32)


def _read(table: np.ndarray, cycles: np.ndarray) -> np.ndarray:
    place = (cycles - np.floor(cycles)) * TABLE
    index = place.astype(np.int32)
    return table[index] + (place - index).astype(np.float32) * (table[index + 1] - table[index])


def _cycles(hz: float, t: np.ndarray, vibrato: float) -> np.ndarray:
    """Phase in cycles; vibrato sets in after a third of a second."""
    if not vibrato:
        return hz * t
    onset = np.clip((t - 0.15) / 0.4, 0.0, 1.0)
    depth = hz * (2.0 ** (vibrato / 1200) - 1.0) / (2 * np.pi * VIBRATO_HZ)
    return hz * t - depth * onset * np.cos(2 * np.pi * VIBRATO_HZ * t)


@functools.lru_cache(maxsize=8192)
def note(name: str, pitch: int, hard: bool, rate: int) -> np.ndarray:
    """The longest note of an instrument, float32 `[T]`, read-only, RMS 1 over its loudest quarter second.

    Shorter notes are its beginning; the caller fades them out. `hard` opens the filter further.
    """
    voice = VOICES[name]
    limit = BAND_LIMIT * rate
    fine = rate * OVERSAMPLING if voice.drive else rate
    t = np.arange(round(voice.seconds * fine)) / fine
    open_by = 1.0 if hard else 0.6
    tone = np.zeros(len(t), np.float32)
    closing = np.exp(-t / voice.sweep).astype(np.float32)
    for semitones in voice.stack:
        for cents in voice.detune:
            hz = frequency(pitch + semitones) * 2.0 ** (cents / 1200)
            cycles = _cycles(hz, t, voice.vibrato)
            dark = _read(_table(voice.spectrum, hz, voice.dark * open_by, limit), cycles)
            bright = _read(_table(voice.spectrum, hz, voice.bright * open_by, limit), cycles)
            tone += dark + closing * (bright - dark)
    for ratio, level, decay in voice.partials:
        hz = frequency(pitch) * ratio
        if hz < limit:
            tone += (open_by * level * np.exp(-t / decay) * np.sin(2 * np.pi * hz * t)).astype(np.float32)
    # High strings die sooner than low ones.
    decay = voice.decay * min(1.5, (220.0 / frequency(pitch)) ** 0.35)
    level = voice.sustain + (1.0 - voice.sustain) * np.exp(-t / decay)
    tone *= (level * np.minimum(1.0, t / voice.attack)).astype(np.float32)
    if voice.noise:
        tone += _breath(voice, t, fine) * float(np.std(tone[: fine // 4]))
    if voice.drive:
        tone = np.tanh(tone * (voice.drive * (1.0 if hard else 0.7) / float(np.abs(tone).max())))
        tone = audio.resample(_speaker(tone.astype(np.float32), fine), fine, rate)
    tone = _unit(tone, rate)
    tone.flags.writeable = False
    return tone


def _breath(voice: Voice, t: np.ndarray, rate: int) -> np.ndarray:
    """Noise of unit scale times `voice.noise`: a burst for what decays, a steady breath for what is held."""
    noise = np.random.default_rng(7).standard_normal(len(t)).astype(np.float32)
    smooth = np.convolve(noise, np.ones(3 * max(1, rate // 16000)) / 2, mode="same").astype(np.float32)
    level = np.exp(-t / 0.012) * 8 if voice.sustain == 0.0 else 0.4 + np.exp(-t / 0.05)
    return voice.noise * smooth * level.astype(np.float32) * np.minimum(1.0, t / voice.attack).astype(np.float32)


def _speaker(tone: np.ndarray, rate: int) -> np.ndarray:
    """A guitar loudspeaker: little below 140 Hz or above 4.5 kHz."""
    bins = np.fft.rfft(tone)
    hz = np.fft.rfftfreq(len(tone), 1 / rate)
    gain = (hz / 140) ** 2 / (1 + (hz / 140) ** 2) / (1 + (hz / 4500) ** 6)
    return np.fft.irfft(bins * gain, len(tone)).astype(np.float32)


def _unit(tone: np.ndarray, rate: int) -> np.ndarray:
    window = rate // 4
    rms = np.sqrt(np.mean(np.square(tone[: window * (len(tone) // window)].reshape(-1, window)), axis=1)).max()
    return (tone / rms).astype(np.float32)


def fade(name: str, rate: int) -> np.ndarray:
    """The release of an instrument, float32 `[T]` from 1 to 0."""
    return _fade(VOICES[name].release, rate)


@functools.lru_cache(maxsize=256)
def _fade(seconds: float, rate: int) -> np.ndarray:
    steps = np.linspace(0.0, 1.0, round(seconds * rate), dtype=np.float32)
    return (1.0 - steps) ** 2
