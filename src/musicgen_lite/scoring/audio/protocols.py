"""CLAP as other tools use it: how a clip becomes rows, so that a figure compares with theirs.

Each protocol is a space of its own, whose name is in the names of its metrics (`scoring.metrics.PROTOCOLS`). What is estimated of the rows
stands in `fad` and `kad`. The checkpoint is whichever `score.clap` names; published figures have LAION's, 10 s at 48 kHz.
"""

from typing import TYPE_CHECKING

import numpy as np

from musicgen_lite.clap import Clap
from musicgen_lite.clap.scorer import ClapScorer
from musicgen_lite.io import audio
from musicgen_lite.io.hashing import fingerprint
from musicgen_lite.scoring.audio import resampling

if TYPE_CHECKING:  # torch takes seconds to load
    import torch

ATTM_SECONDS = 10.0  # the challenge hears no more
ATTM_PEAK_DB = -1.0
FULL_SCALE = 32767  # of the 16-bit rounding of LAION's example, which these tools share


class FadtkEmbedder:
    """CLAP by the protocol of fadtk 1.1 (Gui et al., 2024), by which published FADs with LAION's CLAP are measured.

    Window: that of the model, 10 s for LAION's, the last ones filled up with zeros. Hop: 1 s, from every second that was begun.
    Rounding: audio as a 16-bit file, then towards zero to multiples of 1 / 32767; embeddings in half precision. Checkpoint: fadtk's
    `clap-laion-music` is music_audioset_epoch_15_esc_90.14.pt. Scale: 1. Resampling: torchaudio's with a Kaiser window.
    """

    name = "clap_fadtk"
    hop_s = 1.0

    def __init__(self, scorer: Clap) -> None:
        self.scorer = scorer
        self.dim, self.rate, self.window_s = scorer.dim, scorer.rate, scorer.window_s

    @property
    def fingerprint(self) -> str:
        """Covers the model and the protocol."""
        return fingerprint(
            None,
            {
                "clap": self.scorer.fingerprint,
                "protocol": "fadtk 1.1",
                "window_s": self.window_s,
                "resampling": "torchaudio",
            },
        )

    def embed(self, samples: np.ndarray, rate: int) -> np.ndarray:
        """`[W, D]`, one row for each second that was begun."""
        wave = _as_16_bits(resampling.by_torchaudio(samples, rate, self.rate))
        size, hop = round(self.window_s * self.rate), round(self.hop_s * self.rate)
        windows = [wave[start : start + size] for start in range(0, len(wave), hop)]
        rows = self.scorer.embed_audio([np.pad(window, (0, size - len(window))) for window in windows])
        return rows.astype(np.float16).astype(np.float32)


class KadtkEmbedder(FadtkEmbedder):
    """CLAP by the protocol of kadtk 1.1 (Chung et al., 2025), for KAD (`kad.kadtk_distances`).

    Window, hop, rounding and checkpoint are fadtk's, of which it is a fork. Scale: KAD is times 100.
    """

    name = "clap_kadtk"


class AttmEmbedder(FadtkEmbedder):
    """CLAP for the FAD of the Academic Text-to-Music challenge (ICME 2026): fadtk's `clap-laion-music` on the first 10 s.

    Window, hop, rounding, checkpoint and scale are fadtk's. The challenge's page states checkpoint and length; that its evaluation repository
    runs fadtk was concluded from the files that others' runs of it left, its code was not at hand.
    """

    name = "clap_attm"

    @property
    def fingerprint(self) -> str:
        """Covers the model and the protocol."""
        return fingerprint(None, {"fadtk": super().fingerprint, "protocol": "attm", "first_s": ATTM_SECONDS})

    def embed(self, samples: np.ndarray, rate: int) -> np.ndarray:
        """`[W, D]`, one row for each of the first seconds."""
        return super().embed(samples[: round(ATTM_SECONDS * rate)], rate)


class AttmClap(ClapScorer):
    """A CLAP that hears clips as the CLAP score of the Academic Text-to-Music challenge does; captions are as without it.

    Window: the first 10 s, one window of LAION's models. Rounding: the peak brought to -1 dB, then towards zero to multiples of
    1 / 32767, as in stable-audio-metrics, whose layout the challenge's evaluation repository has. Checkpoint:
    music_audioset_epoch_15_esc_90.14.pt, which the challenge's page states. Scale: 1, the mean cosine.
    """

    def __init__(self, clap: Clap) -> None:
        self._clap = clap
        self.rate, self.window_s, self.dim, self.origin = clap.rate, clap.window_s, clap.dim, clap.origin
        self.fingerprint = fingerprint(
            None, {"clap": clap.fingerprint, "protocol": "attm", "first_s": ATTM_SECONDS, "peak_db": ATTM_PEAK_DB}
        )

    def _texts(self, texts: list[str]) -> "torch.Tensor":
        import torch

        return torch.from_numpy(np.asarray(self._clap.embed_text(texts)))

    def _audio(self, windows: list[np.ndarray]) -> "torch.Tensor":
        import torch

        return torch.from_numpy(np.asarray(self._clap.embed_audio(windows)))

    def embed_clip(self, samples: np.ndarray, rate: int) -> np.ndarray:
        """`[W, D]` of the first seconds of `[T]`, one row per window of the model."""
        wave = audio.resample(samples[: round(ATTM_SECONDS * rate)], rate, self.rate)
        peak = float(np.abs(wave).max())
        loud = wave * (10 ** (ATTM_PEAK_DB / 20) / peak) if peak else wave
        return self._clap.embed_clip(_truncated(loud), self.rate)


def _truncated(wave: np.ndarray) -> np.ndarray:
    """`[T]` float32, rounded towards zero to multiples of 1 / 32767."""
    return (np.trunc(np.clip(wave, -1.0, 1.0) * FULL_SCALE) / FULL_SCALE).astype(np.float32)


def _as_16_bits(wave: np.ndarray) -> np.ndarray:
    """`[T]` as fadtk's CLAP has it once a 16-bit file was read."""
    return _truncated(np.clip(np.round(wave * 32768.0), -32768, 32767) / 32768.0)
