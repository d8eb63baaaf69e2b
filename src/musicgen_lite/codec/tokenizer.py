"""Clips to codes, a batch at a time: what the stage `tokenize` computes, wherever it does."""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from musicgen_lite.codec.base import Codec
from musicgen_lite.compute.work import Recipe
from musicgen_lite.device import fitting
from musicgen_lite.errors import UserError
from musicgen_lite.io import audio
from musicgen_lite.io.beats import Beat
from musicgen_lite.io.windows import Windows
from musicgen_lite.rhythm import Onsets

KINDS = ("prompt", "target")
Row = Mapping[Hashable, Any]


@dataclass(frozen=True)
class Batch:
    """Clips that are encoded together: their rows of the index, and their audio as FLAC bytes."""

    rows: Sequence[Row]
    flac: Sequence[bytes]


@dataclass(frozen=True)
class Waves:
    """A batch as audio, by kind, and the beat of each target."""

    waves: Mapping[str, Sequence[np.ndarray]]
    beats: Sequence[Beat]


@dataclass(frozen=True)
class Codes:
    """A batch as codes `[T', N_q]` by kind, and the beat of each target."""

    codes: Mapping[str, Sequence[np.ndarray]]
    beats: Sequence[Beat]


@dataclass(frozen=True)
class Tokenizer:
    """The codes of each clip's prompt and of its target; windows of equal length form a batch, so that none is padded.

    shortest: of a clip, in seconds; place: where the clips are, for messages.
    """

    codec: Recipe[Codec]
    windows: Windows
    shortest: float
    place: str = ""

    def name(self, piece: Batch) -> str:
        """See `Work.name`."""
        return f"{self.place}: clips {piece.rows[0]['id']} to {piece.rows[-1]['id']}"

    def read(self, piece: Batch) -> Waves:
        """The windows of each clip at the codec's rate. UserError names a clip that cannot be used."""
        rate, waves = self.windows.rate, {kind: list[np.ndarray]() for kind in KINDS}
        beats = []
        for row, flac in zip(piece.rows, piece.flac, strict=True):
            prompt, end = self.windows.of(row["seconds"])
            samples = self._samples(row["id"], flac, end)
            waves["prompt"].append(samples[:prompt])
            waves["target"].append(samples[prompt:end])
            beats.append(beat_of(row, prompt / rate, samples[prompt:end], rate))
        return Waves(waves, beats)

    def compute(self, inputs: Waves) -> Codes:
        """See `Work.compute`; UserError where a batch does not fit into a GPU's memory."""
        with fitting("codec.batch_size", len(inputs.beats), "use shorter clips (data.seconds)"):
            codes = {kind: _encode(self.codec.model, waves) for kind, waves in inputs.waves.items()}
        return Codes(codes, inputs.beats)

    def _samples(self, clip: str, flac: bytes, total: int) -> np.ndarray:
        samples, rate_in = audio.decode(flac, name=clip)
        samples = audio.resample(samples, rate_in, self.windows.rate)
        if reason := audio.invalid_reason(samples, self.windows.rate, self.shortest):
            raise UserError(f"{self.place} {clip}: {reason}")
        # Resampling may fall one sample short of the length.
        return np.pad(samples, (0, max(0, total - len(samples))))


def beat_of(clip: Row, prompt_s: float, target: np.ndarray, rate: int) -> Beat:
    """The beat of a clip's target: what the source knows of it, else what the target itself tells; NaN where nothing does."""
    known = Beat(*(float(clip.get(column, math.nan)) for column in ("x_tempo", "x_beat_s")))
    if known.known:
        return known.later(prompt_s)
    return Onsets.of(target, rate).clear_beat(None if math.isnan(known.bpm) else known.bpm)


def _encode(model: Codec, waves: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Codes `[T', N_q]` of each wave `[T]`, those of equal length in one batch."""
    found: dict[int, np.ndarray] = {}
    for length in dict.fromkeys(map(len, waves)):
        rows = [row for row, wave in enumerate(waves) if len(wave) == length]
        codes = model.encode(torch.from_numpy(np.stack([waves[row] for row in rows]))).cpu().numpy()
        found |= dict(zip(rows, codes, strict=True))
    return [found[row].T for row in range(len(waves))]
