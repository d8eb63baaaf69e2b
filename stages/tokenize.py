"""EnCodec tokens of every clip: the audio prompt window and the target, each encoded from its own waveform; and its beat."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from musicgen_lite import codec
from musicgen_lite.codec.tokenizer import KINDS, Batch, Tokenizer
from musicgen_lite.compute import Engine, Recipe
from musicgen_lite.io.arrays import ArrayWriter
from musicgen_lite.io.clips import ClipStore
from musicgen_lite.io.progress import track
from musicgen_lite.io.windows import Windows
from musicgen_lite.io.work import resumable_dir
from musicgen_lite.params import Params
from stages.runtime import CLIPS, TOKENS, resolve_model_path, run, set_up_engine, work_dir


def read(clips: ClipStore, batches: Sequence[pd.DataFrame]) -> Iterator[Batch]:
    """Each batch with its clips' stored bytes."""
    for rows in batches:
        yield Batch(rows.to_dict("records"), [clips.audio_bytes(clip) for clip in rows["id"]])


def tokenize(engine: Engine, clips: ClipStore, tokenizer: Tokenizer, batch_size: int, folder: Path) -> None:
    """Write the codes of each clip's prompt and of its target into two stores in `folder`, the target's with its beat.

    An earlier call's whole shards in `folder` are kept; batches are the same each time, so that the result is.
    """
    writers = {kind: ArrayWriter(folder / kind, "uint16") for kind in KINDS}
    batches = [clips.index[start : start + batch_size] for start in range(0, len(clips), batch_size)]
    remaining = [batch for batch in batches if any(id not in one for id in batch["id"] for one in writers.values())]
    found = engine.map(tokenizer, read(clips, remaining))
    for rows, made in zip(remaining, track(found, "tokenize", len(remaining), "batch"), strict=True):
        for kind, writer in writers.items():
            for row, grid, beat in zip(rows.to_dict("records"), made.codes[kind], made.beats, strict=True):
                if row["id"] not in writer:
                    facts = beat._asdict() if kind == "target" else {}
                    writer.add(row["id"], grid, split=row["split"], track_id=row["track_id"], **facts)
    for writer in writers.values():
        writer.close(codec.describe(tokenizer.codec.model))


def main(params: Params) -> None:
    engine = set_up_engine(params.compute)
    cfg = params.codec
    recipe = Recipe(
        codec.load,
        resolve_model_path(cfg.name),
        num_codebooks=cfg.num_codebooks,
        device=engine.device,
        trusted=params.trusted_pickles,
    )
    work = work_dir("tokenize", params, recipe.model.fingerprint, engine.device)
    with resumable_dir(TOKENS, work) as folder:
        shortest = params.data.min_seconds or params.data.seconds
        windows = Windows(recipe.model.rate, params.data.prompt_seconds, params.data.seconds)
        tokenizer = Tokenizer(recipe, windows, shortest, str(CLIPS))
        tokenize(engine, ClipStore(CLIPS), tokenizer, cfg.batch_size, folder)


if __name__ == "__main__":
    run(main)
