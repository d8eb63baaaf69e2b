"""KL divergence between the AudioSet labels of a clip and of the real clip for the same prompt, by PaSST.

PaSST (Koutini et al., 2022, arXiv:2110.05069) by its package hear21passt; the protocol is that of stable-audio-metrics: peak at
-1 dB, windows of 10 s every 5 s, the last filled up with zeros, logits averaged, then a softmax. Published figures are
KL(generated || real); both directions are measured.
"""

import contextlib
import io
import warnings
from collections.abc import Collection, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.special import rel_entr, softmax

from musicgen_lite.errors import UserError, first_line, require
from musicgen_lite.io import audio
from musicgen_lite.io.hashing import fingerprint
from musicgen_lite.pretrained import check_pickle
from musicgen_lite.scoring.audio.embeddings import Embeddings
from musicgen_lite.scoring.statistics import intervals
from musicgen_lite.scoring.statistics.intervals import Bootstrap
from musicgen_lite.scoring.statistics.scores import Scores

PARAMETER = "score.passt"
ARCHITECTURE = "passt_s_swa_p16_128_ap476"  # the package's own default
# sha256 of its published weights, a pickle. Sources: public projects that check their download from the publisher
# (github.com/kkoutini/PaSST, release v0.0.1-audioset) against it.
KNOWN = {"302903fa8c4aee817b11dc982da0b29aaf8d11a3e722420476d0a12c9db70c2c": "passt-s-f128-p16-s10-ap.476-swa.pt"}
PEAK_DB, EPSILON = -1.0, 1e-6


def check(weights: str, trusted: Collection[str]) -> str:
    """The sha256 of the file `weights`. Raises UserError where it, or the package, is missing, or it is not trusted."""
    _package()
    path = Path(weights).expanduser()
    if not path.is_file():
        raise UserError(
            f"{PARAMETER}: there is no file {weights}; it needs {', '.join(KNOWN.values())} of the release v0.0.1-audioset at "
            "github.com/kkoutini/PaSST; empty: no KL divergence by PaSST"
        )
    return check_pickle(path, PARAMETER, {*KNOWN, *trusted}, other=f"the published {next(iter(KNOWN.values()))}")


def load(weights: str, *, device: "str | torch.device" = "cpu", trusted: Collection[str] = ()) -> "Passt":
    """PaSST with the weights in the file of that name. Raises UserError as `check` does, or where they do not fit."""
    sha256 = check(weights, trusted)
    base = _package()
    with _quiet():
        net = base.get_model_passt(arch=ARCHITECTURE, pretrained=False)
        mel = base.AugmentMelSTFT(
            n_mels=128, sr=32000, win_length=800, hopsize=320, n_fft=1024, freqm=48, timem=192, htk=False, fmin=0.0,
            fmax=None, norm=1, fmin_aug_range=10, fmax_aug_range=2000,
        )  # fmt: skip
    try:
        net.load_state_dict(torch.load(Path(weights).expanduser(), map_location="cpu", weights_only=True))
    except Exception as error:  # unpickling raises anything
        raise UserError(
            f"{PARAMETER} {weights}: not the weights of {ARCHITECTURE}, {first_line(error)}; fetch it again"
        ) from error
    model = base.PasstBasicWrapper(mel=mel, net=net, mode="logits")
    return Passt(model.eval().requires_grad_(False).to(device), {"name": weights, "sha256": sha256})


class Passt:
    """Logits of the 527 classes of AudioSet, averaged over a clip."""

    name, dim, rate = "passt", 527, 32000
    window_s, hop_s = 10.0, 5.0

    def __init__(self, model: Any, origin: dict[str, str]) -> None:
        self._model, self._origin = model, origin
        settings = {"package": version("hear21passt"), "protocol": "stable-audio-metrics", "peak_db": PEAK_DB}
        self.fingerprint = fingerprint(model.net.state_dict(), settings)

    @torch.inference_mode()
    def embed(self, samples: np.ndarray, rate: int) -> np.ndarray:
        """`[1, 527]`."""
        wave = _at_peak(audio.resample(samples, rate, self.rate))
        size, hop = round(self.window_s * self.rate), round(self.hop_s * self.rate)
        logits = []
        for start in range(0, max(hop, len(wave) - hop), hop):
            window = wave[start : start + size]
            padded = np.pad(window, (0, size - len(window)))
            with _quiet():
                logits.append(self._model(torch.from_numpy(padded)[None].to(self._model.device())))
        return torch.cat(logits).mean(dim=0, keepdim=True).cpu().numpy()

    def scores(self, own: Embeddings, real: Embeddings | None, suffix: str, bootstrap: Bootstrap) -> Scores:
        """KL in both directions, in nats; none of the real clips themselves."""
        if real is None:
            return Scores(notes={f"kl_passt{suffix}": "withheld: no real clips belong to the prompts"})
        if real is own:
            return Scores()
        ids = sorted(own.ids)
        ours, theirs = own.select(ids).rows, real.select(ids).rows
        found = {"kl_passt": divergence(theirs, ours), "kl_passt_reversed": divergence(ours, theirs)}
        estimates = {f"{name}{suffix}": intervals.mean(values, bootstrap) for name, values in found.items()}
        table = pd.DataFrame({"id": ids, **found})
        return Scores(
            estimates,
            tables={f"passt{suffix}": table},
            notes={f"passt{suffix}": {**self._origin, "fingerprint": self.fingerprint}},
        )


def divergence(first: np.ndarray, other: np.ndarray) -> np.ndarray:
    """KL(first || other) `[n]` in nats, of logits `[n, D]`; the other's probabilities are raised by 1e-6, as in stable-audio-metrics."""
    p, q = (softmax(logits.astype(np.float64), axis=1) for logits in (first, other))
    divergences: np.ndarray = rel_entr(p, q + EPSILON).sum(axis=1)
    return divergences


def _at_peak(wave: np.ndarray) -> np.ndarray:
    """`[T]` float32 with its peak at -1 dB; silence stays silent."""
    peak = float(np.abs(wave).max())
    gain = 10 ** (PEAK_DB / 20) / peak if peak else 1.0
    return (gain * wave.astype(np.float64)).astype(np.float32)


def _package() -> Any:
    with _quiet():
        return require("hear21passt.base", extra="passt", purpose=PARAMETER)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what the package prints: whole models, shapes and warnings of torch about its calls."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
