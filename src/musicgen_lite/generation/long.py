"""Clips longer than a model was trained for, generated in overlapping windows."""

from collections.abc import Sequence

import torch
from torch import Tensor

from musicgen_lite.generation.decode import Decoder, generate, prepare
from musicgen_lite.generation.sampling import Sampling
from musicgen_lite.models.core.base import LanguageModel
from musicgen_lite.models.core.conditions import Conditions

# Share of the window that is kept when it slides: a larger one costs time, a smaller one loses context.
OVERLAP = 0.5
# Distance between the seeds of two windows of one item.
SEED_STRIDE = 0x9E3779B97F4A7C15


def generate_long(
    model: LanguageModel,
    conditions: Conditions,
    frames: int,
    sampling: Sampling,
    seeds: Sequence[int],
    rows: int = 64,
    label: str = "",
    prefix_codes: Tensor | None = None,
    decoder: Decoder | None = None,
) -> Tensor:
    """Like `generate`, for any number of frames: codes `[B, N_q, frames]`, of which `prefix_codes` are the first.

    Once the model's window is full it moves on by half its length, and continues the last half of its codes; a beat goes on
    through all windows, counted from the first frame of the first, `prefix_codes` included. The caller
    decodes all codes together, so that windows are joined as codes, never as waveforms.
    """
    window = model.config.max_frames
    kept = max(1, round(window * OVERLAP))
    decoder = decoder or prepare(model)
    codes = prefix_codes
    number = 0
    while codes is None or codes.shape[2] < frames:
        done = 0 if codes is None else codes.shape[2]
        overlap = done if done < window else kept
        window_prefix = None if codes is None else codes[:, :, done - overlap :]
        length = min(window, overlap + frames - done)
        given = conditions.later((done - overlap) / model.config.frame_rate)
        window_seeds = [(seed + number * SEED_STRIDE) % 2**63 for seed in seeds]
        new = generate(model, given, length, sampling, window_seeds, rows, label, window_prefix, decoder)
        codes = new if codes is None else torch.cat([codes, new[:, :, overlap:]], dim=2)
        number += 1
    return codes[:, :, :frames]
