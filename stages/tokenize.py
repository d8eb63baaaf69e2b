"""EnCodec tokens of every clip: the audio prompt window and the target, each encoded from its own waveform; and its beat."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from musicgen_lite import codec
from musicgen_lite.codec.base import Codec
from musicgen_lite.device import fitting
from musicgen_lite.errors import UserError
from musicgen_lite.io import audio
from musicgen_lite.io.arrays import ArrayWriter
from musicgen_lite.io.beats import Beat
from musicgen_lite.io.clips import ClipStore
from musicgen_lite.io.prefetch import prefetched
from musicgen_lite.io.progress import track
from musicgen_lite.io.windows import Windows
from musicgen_lite.io.work import resumable_dir
from musicgen_lite.params import Params
from musicgen_lite.rhythm import Onsets
from stages.runtime import CLIPS, TOKENS, resolve_model_path, run, set_up_torch, work_dir

KINDS = ("prompt", "target")
Row = dict[str, Any]


def tokenize(clips: ClipStore, model: Codec, windows: Windows, shortest: float, batch_size: int, folder: Path) -> None:
    """Write the codes of each clip's prompt and of its target into two stores in `folder`, the target's with its beat.

    Windows of equal length form a batch, so that none is padded; the next batches are read in the background. An earlier
    call's whole shards in `folder` are kept; batches are the same each time, so that the result is.
    """
    writers = {kind: ArrayWriter(folder / kind, "uint16") for kind in KINDS}
    batches = [clips.index[start : start + batch_size] for start in range(0, len(clips), batch_size)]
    remaining = [batch for batch in batches if any(id not in one for id in batch["id"] for one in writers.values())]

    def read(rows: pd.DataFrame) -> tuple[Sequence[Row], dict[str, list[np.ndarray]], list[Beat]]:
        waves: dict[str, list[np.ndarray]] = {kind: [] for kind in KINDS}
        batch, beats = rows.to_dict("records"), []
        for row in batch:
            prompt, end = windows.of(row["seconds"])
            samples = _samples(clips, row["id"], model.rate, end, shortest)
            waves["prompt"].append(samples[:prompt])
            waves["target"].append(samples[prompt:end])
            beats.append(beat_of(row, prompt / model.rate, samples[prompt:end], model.rate))
        return batch, waves, beats

    for batch, waves, beats in track(prefetched(read, remaining), "tokenize", len(remaining), "batch"):
        for kind, writer in writers.items():
            for row, grid, beat in zip(batch, _encode(model, waves[kind]), beats, strict=True):
                if row["id"] not in writer:
                    facts = beat._asdict() if kind == "target" else {}
                    writer.add(row["id"], grid.T, split=row["split"], track_id=row["track_id"], **facts)
    for writer in writers.values():
        writer.close(codec.describe(model))


def beat_of(clip: Row, prompt_s: float, target: np.ndarray, rate: int) -> Beat:
    """The beat of a clip's target: what the source knows of it, else what the target itself tells; NaN where nothing does."""
    known = Beat(*(float(clip.get(column, math.nan)) for column in ("x_tempo", "x_beat_s")))
    if known.known:
        return known.later(prompt_s)
    return Onsets.of(target, rate).clear_beat(None if math.isnan(known.bpm) else known.bpm)


def _encode(model: Codec, waves: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Codes `[N_q, T']` of each wave `[T]`, those of equal length in one batch."""
    found: dict[int, np.ndarray] = {}
    for length in dict.fromkeys(map(len, waves)):
        rows = [row for row, wave in enumerate(waves) if len(wave) == length]
        codes = model.encode(torch.from_numpy(np.stack([waves[row] for row in rows]))).cpu().numpy()
        found |= dict(zip(rows, codes, strict=True))
    return [found[row] for row in range(len(waves))]


def _samples(clips: ClipStore, clip_id: str, rate: int, total: int, shortest: float) -> np.ndarray:
    samples, rate_in = clips.samples(clip_id)
    samples = audio.resample(samples, rate_in, rate)
    reason = audio.invalid_reason(samples, rate, shortest)
    if reason:
        raise UserError(f"{CLIPS} {clip_id}: {reason}")
    # Resampling may fall one sample short of the length.
    return np.pad(samples, (0, max(0, total - len(samples))))


def main(params: Params) -> None:
    device = set_up_torch(params.compute)
    cfg = params.codec
    model = codec.load(
        resolve_model_path(cfg.name), num_codebooks=cfg.num_codebooks, device=device, trusted=params.trusted_pickles
    )
    work = work_dir("tokenize", params, model.fingerprint, device)
    with resumable_dir(TOKENS, work) as folder:
        shortest = params.data.min_seconds or params.data.seconds
        windows = Windows(model.rate, params.data.prompt_seconds, params.data.seconds)
        with fitting("codec.batch_size", cfg.batch_size, "use shorter clips (data.seconds)"):
            tokenize(ClipStore(CLIPS), model, windows, shortest, cfg.batch_size, folder)


if __name__ == "__main__":
    run(main)
