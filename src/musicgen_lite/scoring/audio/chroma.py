"""Chroma: whether audio keeps to the pitches of its audio prompt, whatever its instruments and octaves."""

from collections.abc import Callable, Mapping

import numpy as np

from musicgen_lite.scoring.audio.contrast import contrast, unit
from musicgen_lite.scoring.statistics.scores import Scores

BINS = 12
# At 16 kHz a window of a second: semitones are told apart from about 60 Hz on.
N_FFT, HOP = 16384, 4096

Read = Callable[[str], tuple[np.ndarray, int]]


def profile(samples: np.ndarray, rate: int) -> np.ndarray:
    """Mean over frames of the chroma `[12]` of `[T]` at `rate` Hz, C first, tuned to 440 Hz; zeros for silence.

    Each frame counts alike: its largest bin is 1.
    """
    from librosa.feature import chroma_stft  # slow to import, and only needed here

    wave = np.asarray(samples, np.float32)
    wave = np.pad(wave, (0, max(N_FFT - len(wave), 0)))
    frames = chroma_stft(y=wave, sr=rate, n_fft=N_FFT, hop_length=HOP, n_chroma=BINS, tuning=0.0)
    return np.asarray(frames.mean(axis=1), np.float64)


def chroma_likeness(
    clips: Read, prompts: Read, tracks: Mapping[str, str], prefix: str, bootstrap: int, seed: int
) -> Scores:
    """Cosine of the chroma profiles of clips and of their audio prompts, own against another track's, paired by id.

    tracks: of each clip to score, by id.

    Prompt and clip follow one another, so that frames cannot be compared one by one: their means are. All music shares
    much of its chroma, which makes the gain over another's prompt the figure to read.
    """
    ordered = {clip: tracks[clip] for clip in sorted(tracks)}
    heard, made = (unit(np.stack([profile(*read(clip)) for clip in ordered])) for read in (prompts, clips))
    return contrast(heard @ made.T, ordered, "track", prefix, bootstrap, seed)
