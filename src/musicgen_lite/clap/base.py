"""What the rest of the project asks of a CLAP."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np


class Clap(Protocol):
    """Captions and audio in one space: the dot product of two of its vectors is their cosine.

    rate: of the audio in Hz; window_s: seconds of audio embedded at once; dim: length D of the vectors
    fingerprint: of the weights, the preprocessing and the tokenizer; scores of different fingerprints don't compare
    origin: for the record: `backend`, `name`, the hub's `revision`, and the `sha256` of a pickle
    """

    rate: int
    window_s: float
    dim: int
    fingerprint: str
    origin: dict[str, str]

    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        """Captions as float32 `[N, D]` of length 1, truncated at 77 tokens."""
        ...

    def embed_audio(self, windows: Sequence[np.ndarray]) -> np.ndarray:
        """Waveforms `[T]` at `rate`, none longer than a window, as float32 `[N, D]` of length 1."""
        ...

    def embed_clip(self, samples: np.ndarray, rate: int) -> np.ndarray:
        """Any waveform `[T]` at `rate` Hz as float32 `[W, D]`, one row of length 1 per window."""
        ...

    def similarity(
        self, captions: Sequence[str], rate: int, waves: Sequence[np.ndarray], owners: Sequence[int]
    ) -> np.ndarray:
        """CLAP score `[N]`: cosine of each waveform `[T]` at `rate` Hz, averaged over its windows, with the caption of
        its index in `owners`."""
        ...
