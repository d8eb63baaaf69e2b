"""Rhythm: how steady the beat of audio is, its tempo and where its beats are, and the tempo that a caption states."""

import math
import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from musicgen_lite.io import audio
from musicgen_lite.io.beats import NO_BEAT, Beat

HOP_S = 0.01
# Lags in seconds between which the beat of a pulse is sought: 200 and 50 BPM.
SHORTEST, LONGEST = 0.3, 1.2
# The tempo is the candidate whose onsets return best after these numbers of beats, weighted by a log-normal prior.
CANDIDATES_BPM = np.geomspace(40, 240, 750)
BEATS = (0.5, 1.0, 2.0, 4.0)
PRIOR_BPM, PRIOR_OCTAVES = 120.0, 1.3

TEMPO_ESTIMATE = "autocorrelation of onsets at 1/2, 1, 2 and 4 beats"  # what it is: others do not compare

WINDOW = 2048  # samples of a spectrum, as librosa has it
PHASES = 200  # places in a beat at which the first one is sought
CLEAR_PULSE = 0.3  # from which on a clip counts as having a beat: noise stays below 0.2

TOLERANCE = 0.05
SLOWEST, FASTEST = 20.0, 400.0  # BPM of music
_NUMBER = r"(?<!\d)(?<!\d[.,])(?<![a-z])(\d+(?:[.,]\d+)*)"
_UNIT = r"(?:bpms?\b|b\.p\.m\b|beats?[\s-]*(?:per|a|/)[\s-]*min(?:ute)?s?\b)"
_FIRST = rf"{_NUMBER}\s*{_UNIT}?\s*"
# A number and its unit, after the other end of a range if there is one; or the unit and its number.
_TEMPO = re.compile(
    rf"(?:between\s+{_FIRST}and\s+|{_FIRST}(?:[-–—−~]|to|or)\s*)?{_NUMBER}[\s-]*{_UNIT}"
    rf"|{_UNIT}\s*(?:[:=~]|of|is|at|around|about)?\s*{_NUMBER}(?!\w)",
    re.IGNORECASE,
)


def stated_tempo(caption: str) -> float | None:
    """The tempo in BPM that a caption states in digits, such as "at 128 BPM".

    None where it states none, a range, several, or an impossible one.
    """
    stated = set()
    for match in _TEMPO.finditer(caption):
        *others, last = (_number(text) for text in match.groups() if text)
        stated |= {last, *filter(_possible, others)}
    return stated.pop() if len(stated) == 1 and all(map(_possible, stated)) else None


def _possible(bpm: float) -> bool:
    return SLOWEST <= bpm <= FASTEST


def _number(text: str) -> float:
    """A number as people write it: a comma before three digits separates thousands, otherwise decimals."""
    try:
        return float(re.sub(r",(?=\d{3}(?!\d))", "", text).replace(",", "."))
    except ValueError:  # 1.2.3
        return 0.0


def tempo_matches(found: float, stated: float, octaves: bool = False) -> bool:
    """Whether `found` is within 5 % of `stated`; with `octaves`, of its half or double too."""
    factors = (1.0, 0.5, 2.0) if octaves else (1.0,)
    return any(abs(found - factor * stated) <= TOLERANCE * factor * stated for factor in factors)


@dataclass(frozen=True)
class Onsets:
    """Onset strength `[F]` of a clip, `hop_s` seconds from frame to frame, and how much its power rises `[F]`.

    Onset strength is the rise of the log-mel spectrum, where a soft onset counts as a loud one does: it shows the tempo. The
    rise of the mel spectrum's power follows the loud ones, which fall on beats.
    """

    strength: np.ndarray
    rise: np.ndarray
    hop_s: float

    @classmethod
    def of(cls, samples: np.ndarray, rate: int) -> "Onsets":
        """Of samples `[T]`: librosa's onset strength, mean over the mel bands, and the rise of power.

        Zeros for silence, and for what is shorter than a spectrum.
        """
        # Slow to import, and only needed here.
        from librosa import power_to_db
        from librosa.feature import melspectrogram
        from librosa.onset import onset_strength

        hop = round(HOP_S * rate)
        if len(samples) < WINDOW or audio.rms_db(samples) < audio.SILENCE_DB:
            nothing = np.zeros(1 + len(samples) // hop, np.float32)
            return cls(nothing, nothing, hop / rate)
        mel = melspectrogram(y=np.asarray(samples, np.float32), sr=rate, n_fft=WINDOW, hop_length=hop)
        strength = onset_strength(S=power_to_db(mel), sr=rate, n_fft=WINDOW, hop_length=hop)
        rise = np.diff(mel, prepend=mel[:, :1]).clip(min=0).mean(axis=0)
        return cls(strength, rise, hop / rate)

    @cached_property
    def correlation(self) -> np.ndarray:
        """The autocorrelation of the onset strength."""
        return autocorrelation(self.strength)

    def pulse(self) -> float:
        """The largest autocorrelation at lags of 0.3 to 1.2 s: at most 1 - lag / length of the clip, 0 for silence.

        It tells a steady beat from an unsteady one, not drums from a tremolo: what returns evenly is a beat. Noise of
        5 s has about 0.1, because the largest of many values is above their mean.
        """
        first, last = round(SHORTEST / self.hop_s), round(LONGEST / self.hop_s)
        return float(self.correlation[first : last + 1].max(initial=0.0))

    def pulse_at(self, bpm: float) -> float:
        """The autocorrelation at the lag of a beat; 0 where the clip is shorter."""
        return float(_at(self.correlation, 60 / bpm / self.hop_s))

    def tempo(self) -> float:
        """The tempo in BPM, between 40 and 240; 0 for silence. Half and double are its usual mistakes.

        Square roots keep a few loud onsets from outweighing the others.
        """
        if not self.strength.any():
            return 0.0
        lags = np.outer(BEATS, 60 / CANDIDATES_BPM / self.hop_s)
        score = _at(autocorrelation(np.sqrt(self.strength)), lags).sum(axis=0)
        prior = np.exp(-0.5 * (np.log2(CANDIDATES_BPM / PRIOR_BPM) / PRIOR_OCTAVES) ** 2)
        # Where nothing returns the prior decides.
        return float(CANDIDATES_BPM[np.argmax(np.maximum(score, 1e-6) * prior)])

    def beat(self, bpm: float | None = None) -> Beat:
        """The tempo, or the given one, and the seconds from the clip's start to its first beat; NO_BEAT for silence.

        Where beats are is where combs of their distance, laid over the rise of power and between its frames, collect most. Which
        beat of a bar it is stays open: the first one found counts as a bar's.
        """
        bpm = bpm or self.tempo()
        if not bpm or not self.rise.any():
            return NO_BEAT
        period, frames = 60 / bpm / self.hop_s, len(self.rise)
        offsets = np.arange(PHASES) / PHASES * min(period, frames)
        places = offsets[:, None] + period * np.arange(math.ceil(frames / period))
        collected = np.interp(places, np.arange(frames), self.rise, right=0.0).sum(axis=1)
        found = collected / (places < frames).sum(axis=1)
        return Beat(bpm, float(offsets[found.argmax()] * self.hop_s))

    def clear_beat(self, bpm: float | None = None) -> Beat:
        """The same if the pulse says that there is a beat, or its tempo is given; else NO_BEAT."""
        return self.beat(bpm) if bpm or self.pulse() >= CLEAR_PULSE else NO_BEAT


def goes_on(samples: np.ndarray, rate: int) -> Beat:
    """The beat of samples `[T]`, if they have a clear one, as it goes on after their end; else NO_BEAT."""
    return Onsets.of(samples, rate).clear_beat().later(len(samples) / rate)


def autocorrelation(values: np.ndarray) -> np.ndarray:
    """The autocorrelation `[F]` of `[F]` less their mean: products summed over what overlaps, lag 0 is 1; of constants 0."""
    centred = np.asarray(values, np.float64) - np.mean(values)
    spectrum = np.fft.rfft(centred, 2 * len(centred))
    products = np.fft.irfft(np.abs(spectrum) ** 2)[: len(centred)]
    return products / products[0] if centred.any() else np.zeros(len(centred))


def _at(correlation: np.ndarray, lags: np.ndarray | float) -> np.ndarray:
    """The autocorrelation at lags in frames, between frames by interpolation, 0 beyond its end."""
    return np.interp(lags, np.arange(len(correlation)), correlation, right=0.0)
