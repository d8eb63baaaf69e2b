"""Small embedders and a codec without weights, for tests of whatever uses CLAP or a codec."""

import hashlib
from collections.abc import Sequence

import numpy as np
import torch

from musicgen_lite.scoring.audio.embeddings import Embeddings
from musicgen_lite.scoring.audio.vggish import Vggish, VggishEmbedder

RATE = 16000


def sine(hz: float, seconds: float = 1.0, rate: int = RATE, level: float = 0.3) -> np.ndarray:
    """A tone `[T]`."""
    return (level * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def clicks(bpm: float, seconds: float, seed: int = 0, stray_s: float = 0.0, rate: int = RATE) -> np.ndarray:
    """Bursts of noise `[T]` on every beat, each off it by up to `stray_s`."""
    rng = np.random.default_rng(seed)
    wave, burst = np.zeros(round(seconds * rate), np.float32), rate // 20
    for beat in np.arange(0.05, seconds - 0.05, 60 / bpm):
        start = max(0, round((beat + stray_s * rng.uniform(-1, 1)) * rate))
        made = 0.5 * rng.standard_normal(burst) * np.linspace(1, 0, burst) ** 2
        wave[start : start + burst] += made[: len(wave) - start].astype(np.float32)
    return wave


class ToneClap:
    """A CLAP for tones: text "440" and a tone of 440 Hz have the same embedding, a point on a circle by log frequency."""

    rate, window_s, dim = RATE, 1.0, 3

    def __init__(self, turn: float = 0.0) -> None:
        self.turn = turn
        self.fingerprint = f"tone{turn}"
        self.origin = {"name": self.fingerprint}

    def _point(self, hz: float) -> np.ndarray:
        angle = self.turn + np.log2(max(hz, 1.0)) / 2
        return np.array([np.cos(angle), np.sin(angle), 0.0])

    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        return np.stack([self._point(float(text)) for text in texts])

    def embed_audio(self, windows: Sequence[np.ndarray]) -> np.ndarray:
        peaks = [np.abs(np.fft.rfft(w)).argmax() * RATE / len(w) for w in windows]
        return np.stack([self._point(hz) for hz in peaks])

    def embed_clip(self, samples: np.ndarray, rate: int) -> np.ndarray:
        assert rate == RATE
        size = round(self.window_s * rate)
        return self.embed_audio([samples[i : i + size] for i in range(0, len(samples) - size // 2, size)])

    def similarity(
        self, captions: Sequence[str], rate: int, waves: Sequence[np.ndarray], owners: Sequence[int]
    ) -> np.ndarray:
        clips = np.stack([self.embed_clip(wave, rate).mean(axis=0) for wave in waves])
        return (clips * self.embed_text(captions)[np.asarray(owners)]).sum(axis=1)


class RoundingCodec:
    """A codec whose only codebook is 64 levels of the samples themselves; a frame is a sample block's mean."""

    name, revision, fingerprint = "rounding", "", "rounding"
    rate, hop, codebook_size, num_codebooks, context = RATE, 1, 64, 1, 0
    frame_rate: float = RATE

    def encode(self, wave: torch.Tensor) -> torch.Tensor:
        return ((wave + 1) * 31.5).round().clamp(0, 63).long()[:, None]

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        return codes[:, 0] / 31.5 - 1

    def latents(self, wave: torch.Tensor) -> torch.Tensor:
        return torch.stack([wave, wave**2, wave.diff(prepend=wave[:, :1]).abs()], dim=1)

    def codebooks(self) -> torch.Tensor:
        return torch.zeros(1, 64, 3)


SMALL_VGGISH = ((2, "pool", 2, "pool", 4, "pool", 4, "pool"), 8)


def small_vggish(seed: int = 0) -> VggishEmbedder:
    """VGGish with random weights and few of them."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Vggish(*SMALL_VGGISH)
    return VggishEmbedder(model.eval().requires_grad_(False))


def ring(n: int, seed: int) -> np.ndarray:
    """The partner `[n]` of each position where all differ: the next one in a drawn order."""
    order = np.random.default_rng(seed).permutation(n)
    partner = np.empty(n, dtype=np.int64)
    partner[order] = np.roll(order, -1)
    return partner


def embeddings(
    rows: np.ndarray, windows: int = 1, name: str = "space", prefix: str = "c", **changes: object
) -> Embeddings:
    """Embeddings of made-up clips `{prefix}000`, … from rows `[n * windows, d]`."""
    n = len(rows) // windows
    fields = {
        "embedder": name, "fingerprint": "f", "digest": hashlib.sha256(rows.tobytes()).hexdigest()[:16], "seconds": 1.0,
        "ids": tuple(f"{prefix}{i:03d}" for i in range(n)), "silent": (), "rows": rows, "windows": np.full(n, windows),
    }  # fmt: skip
    return Embeddings(**(fields | changes))  # type: ignore[arg-type]
