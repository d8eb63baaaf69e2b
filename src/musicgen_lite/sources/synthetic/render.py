"""From notes to a waveform: mix, reverb, level."""

import functools

import numpy as np
from scipy import fft

from musicgen_lite.sources.synthetic import drums, instruments
from musicgen_lite.sources.synthetic.compose import DRUM_PITCHES, FRAME_S, Piece

LEVEL_DB = -20.0
CEILING = 0.9
RAIN_DB = -11.0
REVERB_S = 0.9
_DRUM_NAMES = {pitch: name for name, pitch in DRUM_PITCHES.items()}
# Parts against each other, dB, for each note: chords sound several at once. An instrument with two parts has the louder.
_PART_GAINS = {"lead": 0.0, "chords": -6.0, "bass": -2.5}


def render(piece: Piece, seconds: float, rate: int = 16000) -> np.ndarray:
    """The piece, composed for at least `seconds`, as float32 `[seconds x rate]`: RMS -20 dBFS, below full scale, no DC.

    The same piece gives the same bytes; a bar that is repeated note for note is repeated sample for sample, apart
    from what rings on from before.
    """
    count = round(seconds * rate)
    pitched, struck = np.zeros(count, np.float32), np.zeros(count, np.float32)
    gains = {
        track: 10 ** (_PART_GAINS[part] / 20) for part in ("chords", "bass", "lead") if (track := getattr(piece, part))
    }
    for note in piece.notes:
        start = round(note.start_s * rate)
        if start >= count:
            continue
        if note.track == piece.drums:
            sound = drums.hit(note.track, _DRUM_NAMES[note.pitch], rate)
            _add(struck, start, sound, (note.velocity / 110) ** 1.5)
            continue
        sound = instruments.note(note.track, note.pitch, note.velocity >= instruments.HARD_VELOCITY, rate)
        gain = gains[note.track] * (note.velocity / 110) ** 1.2 * 10 ** (instruments.VOICES[note.track].gain / 20)
        held = min(round(note.duration_s * rate), len(sound))
        _add(pitched, start, sound[:held], gain)
        release = instruments.fade(note.track, rate)
        tail = sound[held : held + len(release)]
        _add(pitched, start + held, tail * release[: len(tail)], gain)
    mix = pitched + struck
    if piece.reverb:
        mix += piece.reverb * _reverberate(pitched + 0.3 * struck, rate)
    if piece.rain:
        mix += _rain(piece, mix, rate)
    return _master(mix)


def _add(mix: np.ndarray, start: int, sound: np.ndarray, gain: float) -> None:
    part = sound[: max(0, len(mix) - start)]
    mix[start : start + len(part)] += np.float32(gain) * part


@functools.lru_cache(maxsize=8)
def _room(count: int, rate: int) -> tuple[int, np.ndarray]:
    """FFT length and spectrum of a room's impulse response for signals of `count` samples."""
    t = np.arange(round(REVERB_S * rate)) / rate
    noise = np.random.default_rng(5).standard_normal(len(t)) * np.exp(-t / (REVERB_S / 5)) * (t > 0.012)
    # A darker tail: the mean of neighbours.
    noise = np.convolve(noise, np.ones(3) / 3, mode="same")
    size = fft.next_fast_len(count + len(t), real=True)
    return size, fft.rfft((noise / np.sqrt(np.sum(noise**2))).astype(np.float32), size)


def _reverberate(dry: np.ndarray, rate: int) -> np.ndarray:
    size, room = _room(len(dry), rate)
    return fft.irfft(fft.rfft(dry, size) * room, size)[: len(dry)].astype(np.float32)


def _rain(piece: Piece, mix: np.ndarray, rate: int) -> np.ndarray:
    """The loop of rain from a frame that the piece's notes choose."""
    loop = drums.rain(rate)
    frames = round(drums.RAIN_S / FRAME_S)
    start = round(int(piece.digest(), 16) % frames * FRAME_S * rate)
    level = 10 ** (RAIN_DB / 20) * float(np.sqrt(np.mean(np.square(mix))))
    return np.float32(level) * np.resize(np.roll(loop, -start), len(mix))


def _master(mix: np.ndarray) -> np.ndarray:
    """Take out DC, bring to the level, round off peaks softly."""
    target = 10 ** (LEVEL_DB / 20)
    for _ in range(2):
        mix = mix - mix.mean()
        mix *= target / np.sqrt(np.mean(np.square(mix)))
        mix = CEILING * np.tanh(mix / CEILING)
    return mix.astype(np.float32)
