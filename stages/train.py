"""Train model A or B; a killed training goes on where it was, in the same tracked run."""

import csv
import shutil

from musicgen_lite import tracking
from musicgen_lite.params import Params
from musicgen_lite.store import atomic_dir, atomic_path, write_json
from musicgen_lite.training.fit import fit
from stages.common import CURVES, MODEL, PREVIEWS, RUN, TEXT, TIMINGS, TOKENS, root, run, set_up_torch
from stages.previews import previewer
from stages.resume import checkpoints, relevant


def main(params: Params) -> None:
    set_up_torch(params.compute)
    folder = checkpoints(params)
    preview = previewer(params, folder / "previews") if params.train.preview_every else None
    with tracking.begin(params.tracking, root(), relevant(params), folder / "run.json") as tracked:
        result = fit(
            params, TOKENS, TEXT, folder, MODEL, folder / "curves.json", TIMINGS,
            preview=preview, loggers=tracked.loggers,
        )  # fmt: skip
    if result is None:  # another process of the same training writes the results
        return
    with atomic_path(CURVES) as part, part.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(result.rows[0]))
        writer.writeheader()
        writer.writerows({key: f"{value:.6g}" for key, value in row.items()} for row in result.rows)
    with atomic_dir(PREVIEWS) as part:
        for sound in sorted((folder / "previews").glob("*.flac")):
            shutil.copy(sound, part)
    facts = {"parameters": result.parameters, "best_step": result.best_step, "val_loss": result.val_loss}
    averages = {"val_loss_ema": result.ema_val_loss, "val_loss_raw": result.raw_val_loss}
    write_json(RUN, {**tracked.record, "training": {**facts, **averages}})
    shutil.rmtree(folder)
    print(f"best validation loss {result.val_loss:.4f} nats a code at step {result.best_step}")


if __name__ == "__main__":
    run(main)
