"""Counts steps, with a checkpoint after each; killed, it goes on from the last one and in the same row."""

import shutil

from musicgen_lite import tracking
from musicgen_lite.params import TrackingParams

from .common import CURVES, MODEL, PARAMS, ROOT, RUN, digest, fault, journal, read, write

kind = PARAMS["model"]["type"]
relevant = {"model": {"type": kind, **PARAMS["model"][kind]}, "train": PARAMS["train"], "data": PARAMS["data"]}
folder = ROOT / "checkpoints" / digest(relevant)[:16]
checkpoint = folder / "curves.json"

with tracking.begin(TrackingParams(**PARAMS["tracking"]), ROOT, relevant, folder / "run.json") as run:
    curves = read(checkpoint) if checkpoint.exists() else []
    journal("train" if not curves else f"train from {len(curves)}")
    for step in range(len(curves) + 1, PARAMS["train"]["steps"] + 1):
        point = {"step": step, "val_loss": PARAMS["model"][kind]["d_model"] / step}
        run.log({"val_loss": point["val_loss"]}, step)
        curves.append(point)
        write(checkpoint, curves)
        if step == 3:
            fault("train")

write(MODEL, relevant)
write(CURVES, curves)
write(RUN, run.record)
shutil.rmtree(folder)
