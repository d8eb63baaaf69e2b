"""Three independent spaces to compare audio in: CLAP, the codec's latents, and mel statistics without any weights.

A new one is a class with the members of `embeddings.Embedder`, a line in `Embedders.spaces` and one in `metrics.SPACES`.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from musicgen_lite.clap import Clap
from musicgen_lite.codec import Codec
from musicgen_lite.io import audio
from musicgen_lite.io.hashing import fingerprint
from musicgen_lite.scoring.audio.clip_models import ClipModel
from musicgen_lite.scoring.audio.embeddings import Embedder, Vectors, one_by_one
from musicgen_lite.scoring.audio.protocols import AttmClap, AttmEmbedder, FadtkEmbedder, KadtkEmbedder
from musicgen_lite.scoring.audio.vggish import VggishEmbedder


class ClapEmbedder:
    """Audio embeddings of a CLAP model, l2-normalised, in windows of the model's length."""

    def __init__(self, scorer: Clap, name: str = "clap") -> None:
        self.scorer = scorer
        self.name = name
        self.dim = scorer.dim
        self.rate = scorer.rate
        self.window_s = self.hop_s = scorer.window_s

    @property
    def fingerprint(self) -> str:
        """That of the model."""
        return self.scorer.fingerprint

    def embed(self, samples: np.ndarray, rate: int) -> np.ndarray:
        """`[W, D]`; windows do not overlap, but for a last one aligned to the end."""
        return self.scorer.embed_clip(samples, rate)


class CodecLatentEmbedder:
    """Mean over each second of the codec's latents before quantisation."""

    name = "codec"

    def __init__(self, codec: Codec) -> None:
        self.codec = codec
        self.rate = codec.rate
        self.window_s = self.hop_s = 1.0
        self.dim = int(codec.codebooks().shape[2])

    @property
    def fingerprint(self) -> str:
        """Covers the codec's weights and the pooling."""
        return fingerprint(None, {"codec": self.codec.fingerprint, "pool": "mean", "window_s": self.window_s})

    @torch.inference_mode()
    def embed(self, samples: np.ndarray, rate: int) -> np.ndarray:
        """`[W, D]`: the whole clip is encoded once, then pooled."""
        wave = torch.from_numpy(np.ascontiguousarray(audio.resample(samples, rate, self.rate), dtype=np.float32))
        latents = self.codec.latents(wave[None])[0].cpu().numpy()
        return np.stack([part.mean(axis=1) for part in _split(latents, round(self.codec.frame_rate * self.window_s))])


class MelEmbedder:
    """Mean and standard deviation of log-mel energies over each second: timbre and how much it moves. No weights.

    16 kHz, Hann window of 1024, hop 320, 32 Slaney mel bands to 8 kHz, natural log of power with a floor of 1e-8.
    """

    name = "mel"
    rate = 16000
    window_s = hop_s = 1.0
    n_fft, hop, bands, floor = 1024, 320, 32, 1e-8
    dim = 2 * bands

    @cached_property
    def _filters(self) -> np.ndarray:
        from librosa.filters import mel  # slow to import, and only needed here

        return mel(sr=self.rate, n_fft=self.n_fft, n_mels=self.bands, dtype=np.float32)

    @cached_property
    def fingerprint(self) -> str:
        """Covers the filters and every constant."""
        sizes = {"n_fft": self.n_fft, "hop": self.hop, "floor": self.floor, "window_s": self.window_s}
        return fingerprint({"filters": self._filters}, sizes)

    def embed(self, samples: np.ndarray, rate: int) -> np.ndarray:
        """`[W, 64]`: means, then deviations."""
        wave = np.asarray(audio.resample(samples, rate, self.rate), np.float32)
        wave = np.pad(wave, self.n_fft // 2, mode="reflect" if len(wave) > self.n_fft // 2 else "constant")
        frames = np.lib.stride_tricks.sliding_window_view(wave, self.n_fft)[:: self.hop]
        power = np.square(np.abs(np.fft.rfft(frames * np.hanning(self.n_fft).astype(np.float32), axis=1)))
        mel = np.log(self._filters @ power.T / self.n_fft + self.floor)
        parts = _split(mel, round(self.rate / self.hop * self.window_s))
        return np.stack([np.concatenate([part.mean(axis=1), part.std(axis=1)]) for part in parts]).astype(np.float32)


def _split(frames: np.ndarray, size: int) -> list[np.ndarray]:
    """Parts of `[D, T]` of `size` frames, without overlap but for a last one aligned to the end; a short clip is one part."""
    length = frames.shape[1]
    starts = list(range(0, max(length - size, 0) + 1, size))
    # Less than a tenth of a window beyond the last one is rounding, not music.
    if length - (starts[-1] + size) > size / 10:
        starts.append(length - size)
    return [frames[:, start : start + size] for start in starts]


@dataclass(frozen=True)
class Embedders:
    """What audio is scored with: `clap` is the model that ranks candidates, `judge` a held-out one, which never does.

    protocols: by which sets are compared, ours and those of other tools (`protocols`); each of these is a space of its own.
    vectors: how many clips are embedded, here or elsewhere (`spread.spread`). clip_models: those of `score.passt` and
    `score.aesthetics`, in whose rows no distance is measured. vggish: what protocol audiocraft embeds with.
    """

    clap: Clap
    codec: Codec
    judge: Clap | None = None
    protocols: tuple[str, ...] = ("ours",)
    vectors: Vectors = one_by_one
    clip_models: tuple[ClipModel, ...] = ()
    vggish: VggishEmbedder | None = None

    @cached_property
    def clap_space(self) -> Embedder:
        """The space of `clap`."""
        return ClapEmbedder(self.clap)

    @cached_property
    def spaces(self) -> list[Embedder]:
        """Every space in which sets of clips are compared; `scoring.metrics.SPACES` gives their metrics keys and labels."""
        own: list[Embedder] = [self.clap_space, CodecLatentEmbedder(self.codec), MelEmbedder()]
        others = {"fadtk": FadtkEmbedder, "kadtk": KadtkEmbedder, "attm": AttmEmbedder}
        own += [embedder(self.clap) for name, embedder in others.items() if name in self.protocols]
        own += [self.vggish] if self.vggish and "audiocraft" in self.protocols else []
        return own + [one for one in self.clap_spaces if one.name == "attm"]  # its real clips are scored by it, too

    @cached_property
    def clap_spaces(self) -> list[Embedder]:
        """The spaces of the CLAP models, in which candidates and captions are compared."""
        return [self.clap_space if name == "clap" else ClapEmbedder(one, name) for name, one in self.claps.items()]

    @cached_property
    def by_name(self) -> dict[str, Embedder]:
        """Every space by its name."""
        return {one.name: one for one in (*self.spaces, *self.clap_spaces, *self.clip_models)}

    @cached_property
    def claps(self) -> dict[str, Clap]:
        """The CLAP models by the name that their scores begin with; by protocol attm `clap` hears clips in another way."""
        found = {
            "clap": self.clap,
            "judge": self.judge,
            "attm": AttmClap(self.clap) if "attm" in self.protocols else None,
        }
        return {name: one for name, one in found.items() if one is not None}


def origins(clap: Clap, judge: Clap | None = None, vggish: VggishEmbedder | None = None) -> dict[str, Any]:
    """Notes of the checkpoints: scores compare within one checkpoint only."""
    named = {"clap": clap, "judge": judge, "vggish": vggish}
    models = {name: model for name, model in named.items() if model is not None}
    return {f"{name}_origin": {**model.origin, "fingerprint": model.fingerprint} for name, model in models.items()}
