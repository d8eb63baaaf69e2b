"""The resampling of other tools where it is a part of their protocol: sinc filters with a window, as torchaudio and julius have them."""

import math
from collections.abc import Callable
from typing import Literal

import numpy as np

Window = Callable[[np.ndarray], np.ndarray]
"""The weights of a filter at places from -1 to 1."""


def by_torchaudio(samples: np.ndarray, rate: int, to: int) -> np.ndarray:
    """`[T]` at another rate as fadtk 1.1 has torchaudio do it: 64 zeros, a Kaiser window like resampy's best."""

    def kaiser(place: np.ndarray) -> np.ndarray:
        beta = 14.769656459379492
        return np.asarray(np.i0(beta * np.sqrt(1 - place**2)) / np.i0(beta))

    return _resample(samples, rate, to, 64, 0.9475937167399596, kaiser, "constant")


def by_julius(samples: np.ndarray, rate: int, to: int) -> np.ndarray:
    """`[T]` at another rate as audiocraft has julius do it: 24 zeros, a Hann window, each filter's weights summing to 1."""
    return _resample(samples, rate, to, 24, 0.945, lambda place: np.cos(place * np.pi / 2) ** 2, "edge")


def _resample(
    samples: np.ndarray, rate: int, to: int, zeros: int, rolloff: float, window: Window, edges: Literal["constant", "edge"]
) -> np.ndarray:  # fmt: skip
    """By one filter for each place of an output between inputs; beyond the ends lie zeros, or the last samples and filters of sum 1."""
    if rate == to:
        return np.asarray(samples, np.float32)
    import torch

    shared = math.gcd(rate, to)
    old, new = rate // shared, to // shared
    cut = min(old, new) * rolloff
    width = math.ceil(zeros * old / cut)
    times = np.arange(-width, width + old) / old - np.arange(new)[:, None] / new
    places = np.clip(times * cut, -zeros, zeros)
    filters = np.sinc(places) * window(places / zeros)
    filters *= cut / old if edges == "constant" else 1 / filters.sum(axis=1, keepdims=True)
    padded, kernel = np.pad(samples, (width, width + old), mode=edges), torch.from_numpy(filters.astype(np.float32))
    found = torch.nn.functional.conv1d(
        torch.from_numpy(padded.astype(np.float32))[None, None], kernel[:, None], stride=old
    )
    length = new * len(samples) / old
    return found[0].T.reshape(-1).numpy()[: math.ceil(length) if edges == "constant" else math.floor(length)]
