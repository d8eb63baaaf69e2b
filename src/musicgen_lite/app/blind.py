"""Two settings on one prompt, heard without their names; the votes are those that `musicgen-lite compare --votes` reads."""

import csv
import io
import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from musicgen_lite.errors import UserError
from musicgen_lite.io import audio
from musicgen_lite.report.comparison_sounds import LOUDNESS, PEAK, loudness
from musicgen_lite.report.votes import COLUMNS, Vote


@dataclass(frozen=True)
class Setting:
    """What is compared: a model and its guidance."""

    model: str
    guidance: float

    @property
    def label(self) -> str:
        return f"{self.model}, guidance {self.guidance:g}"


@dataclass(frozen=True)
class Trial:
    """The prompt with its seed, and the labels of what is heard first and second."""

    prompt: str
    first: str
    second: str


def begin(prompt: str, seed: int, settings: tuple[Setting, Setting], draw: random.Random) -> tuple[Trial, bool]:
    """A trial in an order that `draw` decides, and whether it was turned. UserError for two equal settings."""
    a, b = settings
    if a == b:
        raise UserError(f"both sides are {a.label}; choose another model or another guidance for one of them")
    turned = draw.random() < 0.5
    first, second = (b, a) if turned else (a, b)
    return Trial(f"{prompt.strip()} (seed {seed})", first.label, second.label), turned


def vote(votes: Sequence[Vote], trial: Trial, preferred: str) -> list[Vote]:
    """The votes with one more; an earlier one on the same trial gives way, as a file holds each trial once."""

    def key(one: Vote | Trial) -> tuple[str, frozenset[str]]:
        return one.prompt, frozenset((one.first, one.second))

    new = Vote(trial.prompt, trial.first, trial.second, preferred)
    return [*(one for one in votes if key(one) != key(trial)), new]


def votes_csv(votes: Sequence[Vote]) -> str:
    """The votes as the file that `compare --votes` reads."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([getattr(one, name) for name in COLUMNS] for one in votes)
    return text.getvalue()


def levelled(sounds: Sequence[np.ndarray], rates: Sequence[int]) -> list[np.ndarray]:
    """The sounds `[T]` at one loudness, so that the louder one does not win for being louder."""
    levels = [loudness(samples, rate) for samples, rate in zip(sounds, rates, strict=True)]
    heard = [(samples, level) for samples, level in zip(sounds, levels, strict=True) if np.isfinite(level)]
    reachable = [level + 20 * float(np.log10(PEAK / audio.peak(samples))) for samples, level in heard]
    target = min([LOUDNESS, *reachable])
    return [
        (samples * 10 ** ((target - level) / 20)).astype(np.float32) if np.isfinite(level) else samples
        for samples, level in zip(sounds, levels, strict=True)
    ]
