"""Clips longer than a model was trained for: a window that slides over codes that are already there."""

from collections.abc import Sequence

import torch
from torch import Tensor

from musicgen_lite.generation.decode import Decoder, generate, prepare
from musicgen_lite.generation.sampling import Sampling
from musicgen_lite.models.core.base import LanguageModel
from musicgen_lite.models.core.conditions import Conditions

# Share of the window that is kept when it slides: more costs time, less lets the music forget where it was.
OVERLAP = 0.5
# Windows of one item draw from seeds this far apart.
SEED_STRIDE = 0x9E3779B97F4A7C15


def generate_long(
    model: LanguageModel,
    conditions: Conditions,
    frames: int,
    sampling: Sampling,
    seeds: Sequence[int],
    rows: int = 64,
    label: str = "",
    known: Tensor | None = None,
    weights: str | Decoder = "float32",
) -> Tensor:
    """Like `generate`, for any number of frames: codes `[B, N_q, frames]`, of which `known` are the first.

    Once the model's window is full it moves on by half its length, and the last half is what the next one continues.
    All codes are decoded together afterwards, so that a join is a join of codes, never of waveforms.
    """
    window = model.config.max_frames
    kept = max(1, round(window * OVERLAP))
    decoder = prepare(model, weights) if isinstance(weights, str) else weights
    codes = known
    number = 0
    while codes is None or codes.shape[2] < frames:
        done = 0 if codes is None else codes.shape[2]
        begun = done if done < window else kept
        heard = None if codes is None else codes[:, :, done - begun :]
        wanted = min(window, begun + frames - done)
        drawn = [(seed + number * SEED_STRIDE) % 2**63 for seed in seeds]
        new = generate(model, conditions, wanted, sampling, drawn, rows, label, heard, decoder)
        codes = new if codes is None else torch.cat([codes, new[:, :, begun:]], dim=2)
        number += 1
    return codes[:, :, :frames]
