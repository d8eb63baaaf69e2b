"""Four ratings of a clip as listeners would give them, from 1 to 10, by audiobox-aesthetics (Tjandra et al., 2025, arXiv:2502.05139).

The package's model, windows and weighting: mono at 16 kHz, windows of 10 s, the last one filled up with zeros that are masked, and
their mean weighted by what they hold of the clip.
"""

import contextlib
import io
from collections.abc import Collection
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
import torch

from musicgen_lite.errors import require
from musicgen_lite.io.hashing import fingerprint
from musicgen_lite.pretrained import Source, damaged, locate
from musicgen_lite.scoring.audio.embeddings import Embeddings
from musicgen_lite.scoring.metrics import AXES
from musicgen_lite.scoring.statistics import intervals
from musicgen_lite.scoring.statistics.intervals import Bootstrap
from musicgen_lite.scoring.statistics.scores import Scores

PARAMETER = "score.aesthetics"


def check(name: str, trusted: Collection[str], parameter: str = PARAMETER) -> Source:
    """Where the model called `name` lies. Raises UserError naming `parameter` where it, or the package, is missing."""
    _package()
    return locate(name, parameter, {}, trusted)


def load(
    name: str, *, device: "str | torch.device" = "cpu", trusted: Collection[str] = (), parameter: str = PARAMETER
) -> "Aesthetics":
    """The model called `name`, a directory or a hub name. Raises UserError as `check` does, or for damaged files."""
    source = check(name, trusted, parameter)
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # the hub's client says where it reads
            model = _package().AesMultiOutput.from_pretrained(source.folder, strict=True)
    except Exception as error:  # the hub's client, safetensors and the package raise many types
        raise damaged(error, source) from error
    return Aesthetics(model.eval().requires_grad_(False).to(device), {"name": source.pinned})


class Aesthetics:
    """The ratings as rows of four numbers, in the order of `AXES`."""

    name, dim, rate = "aesthetics", len(AXES), 16000
    window_s = hop_s = 10.0

    def __init__(self, model: Any, origin: dict[str, str]) -> None:
        self._model, self._origin = model, origin
        self._cut = _package().make_inference_batch
        self._resample = require("torchaudio", extra="aesthetics", purpose=PARAMETER).functional.resample
        settings = {"package": version("audiobox_aesthetics"), "target": model.target_transform}
        self.fingerprint = fingerprint(model.state_dict(), settings)

    @torch.inference_mode()
    def embed(self, samples: np.ndarray, rate: int) -> np.ndarray:
        """`[1, 4]`."""
        wave = self._resample(torch.from_numpy(np.ascontiguousarray(samples, np.float32))[None], rate, self.rate)
        windows, masks, shares, _ = self._cut([wave], int(self.hop_s), int(self.window_s), sample_rate=self.rate)
        device = next(self._model.parameters()).device
        found = self._model({"wav": torch.stack(windows).to(device), "mask": torch.stack(masks).to(device)})
        weights = torch.tensor(shares) / sum(shares)
        return np.array([[self._rating(axis, found[axis].float().cpu() @ weights) for axis in AXES]], np.float32)

    def _rating(self, axis: str, value: torch.Tensor) -> float:
        scale = self._model.target_transform[axis]
        return float(value) * scale["std"] + scale["mean"]

    def scores(self, own: Embeddings, real: Embeddings | None, suffix: str, bootstrap: Bootstrap) -> Scores:
        """The mean of each rating."""
        ratings = {f"aesthetics_{axis.lower()}": own.rows[:, i].astype(np.float64) for i, axis in enumerate(AXES)}
        return Scores(
            {f"{name}{suffix}": intervals.mean(values, bootstrap) for name, values in ratings.items()},
            tables={f"aesthetics{suffix}": pd.DataFrame({"id": own.ids, **ratings})},
            notes={f"aesthetics{suffix}": {**self._origin, "fingerprint": self.fingerprint}},
        )


def _package() -> Any:
    return require("audiobox_aesthetics.infer", extra="aesthetics", purpose=PARAMETER)
