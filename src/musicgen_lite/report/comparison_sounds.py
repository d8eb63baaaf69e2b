"""The sounds of several runs by prompt, at one loudness and encoded for a page."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from musicgen_lite.errors import require
from musicgen_lite.io import audio
from musicgen_lite.report import mp3, plots
from musicgen_lite.report.comparison import Comparison
from musicgen_lite.report.page import SOUNDS

if TYPE_CHECKING:
    from musicgen_lite.tracking import Result

# Clips get the loudness that all of them reach without a sample beyond the peak, at most this one.
LOUDNESS, PEAK = -20.0, 0.95
GENERATED = ("generated", "prompted")
SHARED = ("real", "codec", "prompt")


@dataclass(frozen=True)
class Clip:
    """A sound as the page plays it: MP3 bytes at the common loudness, spectrogram, and its original loudness in LUFS.

    `run` is the place of the run that generated it, None for sounds that belong to the prompt.
    """

    id: str
    name: str
    kind: str
    run: int | None
    mp3: bytes
    picture: bytes
    seconds: float
    loudness: float


@dataclass(frozen=True)
class Prompt:
    """A prompt with the sounds of every run, then those that belong to the prompt itself."""

    id: str
    caption: str
    fixed: bool
    clips: tuple[Clip, ...]
    axis_seconds: float


@dataclass(frozen=True)
class Sounds:
    """The shown prompts; `available` counts the test prompts of all runs, `note` says what is missing and why."""

    prompts: tuple[Prompt, ...]
    available: int
    loudness: float
    note: str


def loudness(samples: np.ndarray, rate: int) -> float:
    """Loudness of `[T]` in LUFS (ITU-R BS.1770-4, gated); -inf for silence and for clips under 0.4 s."""
    import torch

    measure = require("torchaudio.functional", extra="pipeline", purpose="the loudness of sounds").loudness
    if len(samples) < 0.4 * rate or audio.rms_db(samples) < audio.SILENCE_DB:
        return -np.inf
    value = float(measure(torch.from_numpy(samples)[None], rate))
    return value if np.isfinite(value) else -np.inf


def gather(comparison: Comparison, limit: int) -> Sounds:
    """The fixed prompts and the first `limit` test prompts that every run has with the same caption."""
    without = [label for label, run in zip(comparison.labels, comparison.runs, strict=True) if run.sounds is None]
    if without:
        note = f"{', '.join(without)}: written before runs kept their sounds; `dvc repro` on a newer commit keeps them."
        return Sounds((), 0, 0.0, note)
    tables = [_sounds(run) for run in comparison.runs]
    keys = [key for key in tables[0] if all(key in table for table in tables[1:])]
    fixed, tests = ([key for key in keys if key[2] is flag] for flag in (True, False))
    most = max(len([key for key in table if not key[2]]) for table in tables)
    note = "" if len(tests) == most else f"{len(tests)} of {most} test prompts are in all runs with the same caption."
    shown = {key: _parts(comparison.labels, [table[key] for table in tables]) for key in [*fixed, *tests[:limit]]}
    target = min([LOUDNESS, *(part.reachable for parts in shown.values() for part in parts)])
    numbers = itertools.count()
    prompts = []
    for key, parts in shown.items():
        axis, top_hz = max(len(p.samples) / p.rate for p in parts), max(p.rate for p in parts) / 2
        clips = tuple(_clip(f"clip-{next(numbers)}", part, target, axis, top_hz) for part in parts)
        prompts.append(Prompt(*key, clips, axis))
    return Sounds(tuple(prompts), len(tests), target, note)


@dataclass(frozen=True)
class _Part:
    """A decoded sound: what it is, its samples `[T]`, and its loudness in LUFS."""

    name: str
    kind: str
    run: int | None
    samples: np.ndarray
    rate: int
    level: float

    @property
    def reachable(self) -> float:
        """The loudness at which its peak is as high as a peak may be; no bound for silence."""
        if not np.isfinite(self.level):
            return np.inf
        return self.level + 20 * float(np.log10(PEAK / audio.peak(self.samples)))


def _clip(clip_id: str, part: _Part, target: float, axis_seconds: float, top_hz: float) -> Clip:
    gain = 10 ** ((target - part.level) / 20) if np.isfinite(part.level) else 1.0
    played = (part.samples * gain).astype(np.float32)
    picture = plots.spectrogram(played, part.rate, axis_seconds, top_hz)
    seconds = len(played) / part.rate
    return Clip(clip_id, part.name, part.kind, part.run, mp3.encode(played, part.rate), picture, seconds, part.level)


Key = tuple[str, str, bool]


def _sounds(run: "Result") -> dict[Key, dict[str, bytes]]:
    """Encoded sounds by (prompt, caption, fixed) and kind."""
    found: dict[Key, dict[str, bytes]] = {}
    table = run.sounds if run.sounds is not None else pd.DataFrame()
    for row in table.to_dict("records"):
        found.setdefault((str(row["prompt"]), str(row["caption"]), bool(row["fixed"])), {})[row["kind"]] = row["sound"]
    return found


def _parts(labels: Sequence[str], tables: Sequence[dict[str, bytes]]) -> list[_Part]:
    """The sounds that each run generated for a prompt, then the sounds of the prompt itself, equal ones once."""

    def part(name: str, kind: str, run: int | None, sound: bytes) -> _Part:
        samples, rate = audio.decode(sound, name=name)
        return _Part(name, kind, run, samples, rate, loudness(samples, rate))

    found = []
    for place, (label, table) in enumerate(zip(labels, tables, strict=True)):
        for kind in GENERATED:
            if kind in table:
                name = label if kind == "generated" else f"{label} + audio prompt"
                found.append(part(name, kind, place, table[kind]))
    for kind in SHARED:
        owners: dict[bytes, list[str]] = {}
        for label, table in zip(labels, tables, strict=True):
            if kind in table:
                owners.setdefault(table[kind], []).append(label)
        for sound, who in owners.items():
            name = SOUNDS[kind] if len(owners) == 1 else f"{SOUNDS[kind]} ({', '.join(who)})"
            found.append(part(name, kind, None, sound))
    return found
