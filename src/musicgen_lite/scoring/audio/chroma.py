"""Chroma: whether audio keeps the pitch classes of its audio prompt, whatever its instruments and octaves."""

from collections.abc import Mapping

import numpy as np

from musicgen_lite.scoring.audio.contrast import contrast, unit
from musicgen_lite.scoring.audio.embeddings import Reader
from musicgen_lite.scoring.statistics.intervals import Bootstrap
from musicgen_lite.scoring.statistics.scores import Scores

BINS = 12
# At 16 kHz a window of a second: semitones are told apart from about 60 Hz on.
N_FFT, HOP = 16384, 4096


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
    clips: Reader, prompts: Reader, tracks: Mapping[str, str], prefix: str, bootstrap: Bootstrap
) -> Scores:
    """Cosine of the chroma profiles of clips and of their audio prompts, matching against shuffled, paired by id.

    tracks: the track of each clip to score, by id; a shuffled prompt is one of another track.

    The clip follows its prompt, so that frames cannot be compared one by one: their means are. All music shares much of its
    chroma, so read the gain over a shuffled prompt.
    """
    ordered = {clip: tracks[clip] for clip in sorted(tracks)}
    of_prompts, of_clips = (unit(np.stack([profile(*read(clip)) for clip in ordered])) for read in (prompts, clips))
    return contrast(of_prompts @ of_clips.T, ordered, "track", prefix, bootstrap)
