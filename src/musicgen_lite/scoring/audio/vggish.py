"""VGGish (Hershey et al., 2017) and FAD by it, as audiocraft's papers have it. The weights are the user's, by path.

The architecture and the log-mel frames are those of TensorFlow's `vggish_slim` and `vggish_input`, which torchvggish ported; tests hold both
against that package. No PCA and no quantisation: these belong to AudioSet's published embeddings.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from musicgen_lite.errors import UserError, first_line
from musicgen_lite.io.hashing import file_sha256, fingerprint
from musicgen_lite.scoring.audio import resampling

RATE = 16000
FFT, WINDOW, HOP = 512, 400, 160  # samples: frames of 25 ms, one every 10 ms
BANDS, LOW_HZ, HIGH_HZ, OFFSET = 64, 125.0, 7500.0, 0.01
FRAMES = 96  # of an example: 0.96 s
DIM = 128
HIDDEN = 4096
LAYERS = (64, "pool", 128, "pool", 256, 256, "pool", 512, 512, "pool")
BATCH = 64
# The published weights, whose name ends in the first digits of their sha256.
PUBLISHED, STATED = "vggish-10086976.pth", "10086976"
WHENCE = f"the release v0.1 of github.com/harritaylor/torchvggish has {PUBLISHED}"


class Vggish(nn.Module):
    """Log-mel examples `[B, 96, 64]` to embeddings `[B, 128]` before the last activation, by the tensor names of torchvggish.

    sizes: channels of the convolutions with the poolings between; hidden: size of the two layers after them.
    """

    def __init__(self, sizes: Sequence[int | str] = LAYERS, hidden: int = HIDDEN) -> None:
        super().__init__()
        layers, channels = list[nn.Module](), 1
        for size in sizes:
            if isinstance(size, int):
                layers += [nn.Conv2d(channels, size, 3, padding=1), nn.ReLU()]
                channels = size
            else:
                layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.embeddings = nn.Sequential(
            nn.Linear(channels * (FRAMES // 16) * (BANDS // 16), hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(),
            nn.Linear(hidden, DIM),
        )  # fmt: skip

    def forward(self, examples: torch.Tensor) -> torch.Tensor:
        """See the class."""
        found = self.features(examples[:, None])
        embedded: torch.Tensor = self.embeddings(found.permute(0, 2, 3, 1).flatten(1))
        return embedded


def load(name: str, *, device: str | torch.device = "cpu", parameter: str = "score.vggish") -> "VggishEmbedder":
    """The embedder with the weights in the file `name`, a `.pth` of torchvggish or the same tensors as `.safetensors`.

    Only tensors are unpickled. Raises UserError naming the file where it is missing, damaged, or holds other tensors.
    """
    path = Path(name).expanduser()
    if not path.is_file():
        raise UserError(f"{parameter}: there is no file {name!r}; {WHENCE}: fetch it, and name it there")
    model = Vggish()
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            tensors = load_file(path)
        else:
            tensors = torch.load(path, map_location="cpu", weights_only=True)
        model.load_state_dict(tensors)
    except Exception as error:  # unpickling raises anything
        raise UserError(
            f"{path}: not VGGish's weights by torchvggish's names ({first_line(error)}); {WHENCE}"
        ) from error
    return VggishEmbedder(model.eval().requires_grad_(False).to(device), file_sha256(path))


class VggishEmbedder:
    """VGGish by the protocol of audiocraft, which runs Google's TensorFlow tool (frechet_audio_distance of google-research).

    Window: 1 s, of which the first 0.96 s are heard. Hop: 0.5 s; an incomplete window is left out. Rounding: audio at 16 kHz with its peak at -1 dB, in 16
    bits, then divided by its largest sample. Checkpoint: VGGish's, embeddings before the last activation, without PCA and quantisation. Scale: 1.
    Resampling: julius's. A clip shorter than a window, which the tool cannot take, is filled up with zeros.
    """

    name, dim, rate = "vggish_audiocraft", DIM, RATE
    window_s, hop_s = 1.0, 0.5

    def __init__(self, model: Vggish, sha256: str = "") -> None:
        self.model = model
        self.origin = {"sha256": sha256, "published": PUBLISHED if sha256.startswith(STATED) else ""}
        self.fingerprint = fingerprint(
            model.state_dict(),
            {"protocol": "audiocraft", "window_s": self.window_s, "hop_s": self.hop_s, "resampling": "julius"},
        )

    def embed(self, samples: np.ndarray, rate: int) -> np.ndarray:
        """`[W, 128]`, one row for each half second from which a whole second is left."""
        return self.embed_examples(self.examples(resampling.by_julius(samples, rate, RATE)))

    def examples(self, samples: np.ndarray) -> np.ndarray:
        """The log-mel examples `[W, 96, 64]` of `[T]` at 16 kHz."""
        wave = written(samples)
        wave = np.pad(wave, (0, max(0, RATE - len(wave))))
        starts = range(0, len(wave) - RATE + 1, round(self.hop_s * RATE))
        return np.stack([log_mel(wave[start : start + RATE])[:FRAMES] for start in starts])

    @torch.inference_mode()
    def embed_examples(self, examples: np.ndarray) -> np.ndarray:
        """Examples `[W, 96, 64]` as `[W, 128]`."""
        device = next(self.model.parameters()).device
        parts = torch.from_numpy(examples.astype(np.float32)).split(BATCH)
        return torch.cat([self.model(part.to(device)).cpu() for part in parts]).numpy()


def written(wave: np.ndarray) -> np.ndarray:
    """`[T]` as the tool has it: written by audiocraft, its peak at -1 dB and in 16 bits, then divided by its largest sample."""
    peak = np.abs(wave).max()
    stored = np.round(wave * (np.float32(10 ** (-1 / 20)) / peak) * 2**15) if peak else wave
    return stored.astype(np.float64) / max(0.1, float(stored.max()))


def log_mel(wave: np.ndarray) -> np.ndarray:
    """Log-mel frames `[F, 64]` of `[T]` at 16 kHz: magnitudes with a periodic Hann window, no padding, log of mel + 0.01."""
    frames = np.lib.stride_tricks.sliding_window_view(np.asarray(wave, np.float64), WINDOW)[::HOP]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi / WINDOW * np.arange(WINDOW))
    return np.log(np.abs(np.fft.rfft(frames * hann, FFT)) @ mel_filters() + OFFSET)


def mel_filters() -> np.ndarray:
    """Triangles on HTK's mel scale `[257, 64]`, linear in mel rather than in Hz, without the constant component."""

    def mel(hz: float | np.ndarray) -> np.ndarray:
        return np.asarray(1127.0 * np.log(1.0 + np.asarray(hz) / 700.0))

    edges = np.linspace(mel(LOW_HZ), mel(HIGH_HZ), BANDS + 2)
    bins = mel(np.linspace(0.0, RATE / 2, FFT // 2 + 1))[:, None]
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    filters = np.maximum(0.0, np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre)))
    filters[0] = 0.0
    return np.asarray(filters)
