"""Train model A or B, where a killed training goes on in the same tracked run; or take a published model as it is."""

import contextlib
import csv
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from musicgen_lite import tracking
from musicgen_lite.params import Params
from musicgen_lite.store import atomic_dir, atomic_path, held, write_json
from musicgen_lite.training.fit import TrainingResult, fit
from musicgen_lite.training.imported import import_peer
from musicgen_lite.training.preview import previewer
from stages.runtime import (
    CURVES,
    MODEL,
    PREVIEWS,
    RUN,
    TEXT,
    TIMINGS,
    TOKENS,
    resolve_model_path,
    root,
    run,
    set_up_torch,
    work_dir,
)


def model(params: Params, folder: Path, loggers: Sequence[Any]) -> TrainingResult | None:
    """Write the model file; None in a process of a training that another one of it answers for."""
    if params.model.type == "musicgen":
        return import_peer(params, resolve_model_path(params.model.musicgen.name), TOKENS, TEXT, MODEL)
    preview = None
    if params.train.preview_every:
        preview = previewer(params, resolve_model_path, folder / "previews")
    return fit(
        params, TOKENS, TEXT, folder, MODEL, folder / "curves.json", TIMINGS, preview=preview, loggers=loggers
    )  # fmt: skip


def main(params: Params) -> None:
    set_up_torch(params.compute)
    folder = work_dir("train", params)
    with held(folder) if tracking.is_first_process() else contextlib.nullcontext():
        train(params, folder)


def train(params: Params, folder: Path) -> None:
    """Train from where `folder` stands, write all results, and remove it."""
    with tracking.begin(params.tracking, root(), params.training(), folder / "run.json") as tracked:
        result = model(params, folder, tracked.loggers)
    if result is None:  # another process of the same training writes the results
        return
    with atomic_path(CURVES) as part, part.open("w", newline="") as file:
        # What `dvc plots` draws is always there; nothing stands where nothing was measured.
        names = dict.fromkeys(("step", "epoch", "train_loss", *result.rows[0]))
        writer = csv.DictWriter(file, fieldnames=list(names))
        writer.writeheader()
        writer.writerows(result.rows)  # every digit: MLflow's row may have to be written again from here
    with atomic_dir(PREVIEWS) as part:
        for sound in sorted((folder / "previews").glob("*.flac")):
            shutil.copy(sound, part)
    facts = {"parameters": result.parameters, "best_step": result.best_step, "val_loss": result.val_loss}
    averages = {"val_loss_ema": result.ema_val_loss, "val_loss_raw": result.raw_val_loss}
    published = {"published": result.published} if result.published else {}
    write_json(RUN, {**tracked.record, "training": {**facts, **averages, **published}})
    shutil.rmtree(folder)
    where = f"{result.published}, not trained here" if result.published else f"step {result.best_step}"
    print(f"best validation loss {result.val_loss:.4f} nats a code: {where}")


if __name__ == "__main__":
    run(main)
