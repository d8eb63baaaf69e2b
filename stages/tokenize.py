"""EnCodec tokens of every clip: the audio prompt window and the target, each encoded from its own waveform."""

import numpy as np
import torch

from musicgen_lite import audio, codec
from musicgen_lite.codec.base import Codec
from musicgen_lite.errors import UserError
from musicgen_lite.params import Params
from musicgen_lite.progress import track
from musicgen_lite.sources.clips import ClipStore
from musicgen_lite.store import ArrayWriter, atomic_dir
from stages.common import CLIPS, TOKENS, run, set_up_torch


def windows(samples: np.ndarray, prompt: int, total: int) -> dict[str, np.ndarray]:
    """The two windows of one clip `[T]`: no sample is in both."""
    return {"prompt": samples[:prompt], "target": samples[prompt:total]}


def describe(model: Codec) -> dict[str, str | int | float]:
    """What a reader of the tokens must know of the codec."""
    return {
        "name": model.name, "fingerprint": model.fingerprint, "codebook_size": model.codebook_size,
        "num_codebooks": model.num_codebooks, "frame_rate": model.frame_rate, "rate": model.rate,
    }  # fmt: skip


def main(params: Params) -> None:
    device = set_up_torch(params.compute)
    model = codec.load(params.codec.name, params.codec.num_codebooks, device, params.trusted_pickles)
    clips = ClipStore(CLIPS)
    prompt, total = (round(seconds * model.rate) for seconds in (params.data.prompt_seconds, params.data.seconds))
    rows = clips.index[["id", "split", "track_id"]].to_dict("records")
    size = params.codec.batch_size
    with atomic_dir(TOKENS) as part:
        writers = {}
        for kind in ("prompt", "target"):
            (part / kind).mkdir()
            writers[kind] = ArrayWriter(part / kind, "uint16")
        batches = [rows[start : start + size] for start in range(0, len(rows), size)]
        for batch in track(batches, "tokenize", unit=f"x{size} clips"):
            cut = [windows(_samples(clips, row["id"], model.rate, total), prompt, total) for row in batch]
            for kind, writer in writers.items():
                codes = model.encode(torch.from_numpy(np.stack([one[kind] for one in cut])).to(device))
                for row, grid in zip(batch, codes.cpu().numpy(), strict=True):
                    writer.add(row["id"], grid.T, split=row["split"], track_id=row["track_id"])
        for writer in writers.values():
            writer.close(describe(model))


def _samples(clips: ClipStore, clip_id: str, rate: int, total: int) -> np.ndarray:
    samples, rate_in = clips.samples(clip_id)
    samples = audio.resample(samples, rate_in, rate)
    reason = audio.fault(samples, rate, total / rate)
    if reason:
        raise UserError(f"{CLIPS} {clip_id}: {reason}")
    # Resampling may fall one sample short of the length.
    return np.pad(samples, (0, max(0, total - len(samples))))


if __name__ == "__main__":
    run(main)
