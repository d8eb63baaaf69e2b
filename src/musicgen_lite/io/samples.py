"""Generated samples on disk: who asks for a sample names its prompt, its kind and its candidate, never an id."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from musicgen_lite.errors import UserError
from musicgen_lite.io.clips import Clip, ClipStore, ClipWriter

Kind = Literal["text", "prompt", "fixed"]
"""What the model is conditioned on: a test caption, the same with its audio prompt, or a fixed caption."""


@dataclass(frozen=True)
class Sample:
    """One candidate for a prompt. `score` is the one that candidates are ranked by, `picked` marks the best of them.

    bpm: the tempo that the model was told; None where it is told none.
    """

    prompt_id: str
    kind: Kind
    candidate: int
    seed: int
    score: float
    picked: bool
    caption: str
    bpm: float | None = None


def _clip_id(kind: str, prompt_id: str, candidate: int) -> str:
    return f"{kind}-{prompt_id}-{candidate}"


class SampleWriter:
    """Writes samples into a directory, as shards of clips with their audio as FLAC bytes."""

    def __init__(self, directory: str | Path) -> None:
        self._clips = ClipWriter(directory)

    def add(self, sample: Sample, wave: np.ndarray, rate: int) -> None:
        """Append a sample with its waveform `[T]` at `rate` Hz."""
        extra = {
            "kind": sample.kind, "candidate": sample.candidate, "seed": str(sample.seed), "score": sample.score,
            "picked": sample.picked, "bpm": math.nan if sample.bpm is None else sample.bpm,
        }  # fmt: skip
        name = _clip_id(sample.kind, sample.prompt_id, sample.candidate)
        self._clips.add(Clip(name, sample.prompt_id, "test", sample.caption, (), wave, rate, extra))

    def close(self, rejected: Sequence[dict[str, str]] = ()) -> None:
        """Write the last shard, and the `id` and `reason` of what another system lacks or could not be read."""
        self._clips.close(rejected)


class SampleStore:
    """Reads what `SampleWriter` wrote; the audio stays on disk until it is asked for.

    Raises UserError naming a shard that cannot be read, a sample that occurs twice, and one that is not there.
    """

    def __init__(self, directory: str | Path) -> None:
        self._clips = ClipStore(directory)
        columns = {"x_kind", "x_candidate", "x_seed", "x_score", "x_picked"}
        missing = columns - set(self._clips.index.columns)
        if missing:
            raise UserError(f"{directory}: no samples, the columns {sorted(missing)} are missing; run `dvc repro`")
        self.samples = [_sample(row) for row in self._clips.index.to_dict("records")]
        self._by_prompt: dict[tuple[str, str], list[Sample]] = {}
        for one in sorted(self.samples, key=lambda one: one.candidate):
            self._by_prompt.setdefault((one.kind, one.prompt_id), []).append(one)

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def rejected(self) -> list[dict[str, str]]:
        """What the samples lack, each with `id` and `reason`: another system's audio may."""
        return self._clips.rejected

    def picked(self, kind: Kind) -> list[Sample]:
        """The picked samples of one kind, in stored order."""
        return [one for one in self.samples if one.kind == kind and one.picked]

    def candidates(self, kind: Kind, prompt_id: str) -> list[Sample]:
        """All candidates for one prompt, by number."""
        return list(self._by_prompt.get((kind, prompt_id), []))

    def wave(self, kind: Kind, prompt_id: str, candidate: int) -> tuple[np.ndarray, int]:
        """Waveform `[T]` and rate of one candidate."""
        return self._clips.samples(_clip_id(kind, prompt_id, candidate))

    def flac(self, sample: Sample) -> bytes:
        """The stored FLAC bytes of one sample."""
        return self._clips.audio_bytes(_clip_id(sample.kind, sample.prompt_id, sample.candidate))


def _sample(row: dict[Any, Any]) -> Sample:
    bpm = row.get("x_bpm", math.nan)  # samples of before had none
    return Sample(
        str(row["track_id"]), row["x_kind"], int(row["x_candidate"]), int(row["x_seed"]), float(row["x_score"]),
        bool(row["x_picked"]), str(row["caption"]), float(bpm) if pd.notna(bpm) else None,
    )  # fmt: skip
