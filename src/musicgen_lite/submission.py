"""Samples as a folder of files, one a prompt, as a challenge takes them: named by the prompt's id, at one rate."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from musicgen_lite.errors import UserError
from musicgen_lite.export import check_folder
from musicgen_lite.io import audio
from musicgen_lite.io.files import atomic_dir, write_text
from musicgen_lite.io.progress import track
from musicgen_lite.io.samples import Sample, SampleStore

TABLE = "captions.csv"  # which prompt each file is for; `musicgen-lite score --captions` reads it
RATES = range(8_000, 192_001)


def chosen(samples: SampleStore, directory: Path) -> list[Sample]:
    """The picked sample of each test prompt or prompt of a file, in stored order; UserError where there is none."""
    found = samples.picked("text")
    if not found:
        raise UserError(f"{directory}: no samples for prompts; run `dvc repro sample`")
    return found


def reranked(samples: SampleStore, found: Sequence[Sample]) -> int:
    """How many candidates the picked ones were picked from, at most: 1 where each prompt had one generation."""
    return max(len(samples.candidates(one.kind, one.prompt_id)) for one in found)


def write(folder: Path, samples: SampleStore, found: Sequence[Sample], rate: int) -> None:
    """Write `ID.wav` in 16 bits at `rate` Hz for each sample and the table of prompts, whole or not at all.

    Raises UserError for a folder that is not empty and a rate that is not allowed.
    """
    check_rate(rate)
    check_folder(folder)
    with atomic_dir(folder) as part:
        for one in track(found, "write samples", len(found), "file"):
            wave, rate_in = samples.wave(one.kind, one.prompt_id, one.candidate)
            audio.write(part / f"{one.prompt_id}.wav", at_rate(wave, rate_in, rate), rate)
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(
            [("file_name", "id", "caption"), *((f"{one.prompt_id}.wav", one.prompt_id, one.caption) for one in found)]
        )
        write_text(part / TABLE, text.getvalue())


def check_rate(rate: int) -> None:
    """Raise UserError for a rate that no file has."""
    if rate not in RATES:
        raise UserError(f"rate: found {rate}; {RATES.start} to {RATES.stop - 1} Hz are allowed")


def at_rate(wave: np.ndarray, rate_in: int, rate: int) -> np.ndarray:
    """`[T]` at another rate, exactly as long; scaled down only where resampling made it overshoot full scale."""
    length = round(len(wave) * rate / rate_in)
    found = audio.resample(wave, rate_in, rate)[:length]
    found = np.pad(found, (0, length - len(found)))
    return found / max(1.0, audio.peak(found))
