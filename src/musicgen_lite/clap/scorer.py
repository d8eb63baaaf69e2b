"""What every CLAP (Wu et al. 2023, arXiv:2211.06687) shares, whichever package runs it: windows, checks, batches, scores."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from musicgen_lite.errors import UserError
from musicgen_lite.io import audio

if TYPE_CHECKING:  # torch takes seconds to load
    import torch

# laion_clap, which published scores come from, truncates captions there.
MAX_TOKENS = 77
BATCH = 32


class ClapScorer(ABC):
    """Embeds batches by the two methods that a subclass defines; see `Clap` for its members."""

    rate: int
    window_s: float
    dim: int
    fingerprint: str
    origin: dict[str, str]

    @abstractmethod
    def _texts(self, texts: list[str]) -> "torch.Tensor":
        """A batch of captions as `[B, D]` of length 1."""

    @abstractmethod
    def _audio(self, windows: list[np.ndarray]) -> "torch.Tensor":
        """A batch of finite waveforms `[T]`, none longer than the window, as `[B, D]` of length 1."""

    @property
    def _window(self) -> int:
        return round(self.window_s * self.rate)

    def _batches(self, embed: Callable[[list[Any]], "torch.Tensor"], items: Sequence[Any]) -> np.ndarray:
        import torch

        rows = [np.zeros((0, self.dim), np.float32)]
        for start in range(0, len(items), BATCH):
            with torch.inference_mode():
                rows.append(embed(list(items[start : start + BATCH])).cpu().numpy())
        return np.concatenate(rows)

    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        """`[N, D]` of `texts`; see `Clap.embed_text`."""
        return self._batches(self._texts, texts)

    def embed_audio(self, windows: Sequence[np.ndarray]) -> np.ndarray:
        """Waveforms `[T]` at `rate`, each at most a window long, as float32 `[N, D]` of length 1.

        A shorter one is padded as in the model's training: usually repeated as often as it fits whole, then zeros.
        Raises UserError naming a waveform that is empty or holds NaN or infinite samples.
        """
        for number, window in enumerate(windows):
            self._check(window, f"audio {number}")
        return self._batches(self._audio, windows)

    def _check(self, samples: np.ndarray, name: str) -> None:
        if samples.ndim != 1 or len(samples) > self._window:
            raise ValueError(f"{name}: shape {samples.shape}, expected [T] with T <= {self._window}")
        reason = "empty" if not len(samples) else "" if np.isfinite(samples).all() else "NaN or infinite samples"
        if reason:
            raise UserError(f"CLAP, {name}: {reason}; at least one sample is needed, all of them finite")

    def windows(self, samples: np.ndarray) -> list[np.ndarray]:
        """Cut `[T]` at `rate` into windows without overlap, and one more aligned to the end where samples are left over.

        A clip no longer than a window is one window, unpadded.
        """
        size = self._window
        starts = list(range(0, max(len(samples) - size, 0) + 1, size))
        if len(samples) > starts[-1] + size:
            starts.append(len(samples) - size)
        return [samples[start : start + size] for start in starts]

    def embed_clip(self, samples: np.ndarray, rate: int) -> np.ndarray:
        """`[W, D]` of `samples` `[T]`; see `Clap.embed_clip`."""
        return self.embed_audio(self.windows(audio.resample(samples, rate, self.rate)))

    def similarity(
        self, captions: Sequence[str], rate: int, waves: Sequence[np.ndarray], owners: Sequence[int]
    ) -> np.ndarray:
        """`[N]`, one for each of `waves`; see `Clap.similarity`."""
        return self.cosines(captions, [self.embed_mean(wave, rate) for wave in waves], owners)

    def embed_mean(self, samples: np.ndarray, rate: int) -> np.ndarray:
        """`[D]`, the mean over the windows of `samples` `[T]`."""
        return np.asarray(self.embed_clip(samples, rate).mean(axis=0))

    def cosines(self, captions: Sequence[str], clips: Sequence[np.ndarray], owners: Sequence[int]) -> np.ndarray:
        """`similarity` of clips by what `embed_mean` gave for each."""
        return (np.stack(clips) * self.embed_text(captions)[np.asarray(owners)]).sum(axis=1)
