"""Train a model, where a killed training goes on in the same tracked run; or take a model, or another system, as it is."""

import csv
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from musicgen_lite import tracking
from musicgen_lite.errors import UserError
from musicgen_lite.initial import Initial, locate
from musicgen_lite.io.files import atomic_dir, atomic_path, read_json, write_json
from musicgen_lite.io.work import held
from musicgen_lite.params import DIVISION, Params
from musicgen_lite.training.corpus import Corpus
from musicgen_lite.training.export import TrainingResult
from musicgen_lite.training.fit import TrainingPaths, fit
from musicgen_lite.training.import_musicgen import import_pretrained
from musicgen_lite.training.preview import previewer
from stages.runtime import (
    CURVES,
    EXTERNAL,
    MODEL,
    PREVIEWS,
    RUN,
    SYSTEM,
    TEXT,
    TIMINGS,
    TOKENS,
    caller,
    resolve_model_path,
    root,
    run,
    set_up_torch,
    stopping_by_itself,
    work_dir,
)

OUTS = (MODEL.parent, PREVIEWS, RUN.parent, CURVES)
RESULT = "result"  # in the folder of the training: its results, whole or absent


def model(params: Params, folder: Path, loggers: Sequence[Any]) -> TrainingResult | None:
    """Write the model file into `folder`; None on non-zero ranks."""
    corpus, paths = Corpus(TOKENS, TEXT), paths_within(folder)
    if not params.trained:
        return import_pretrained(params, resolve_model_path(params.model.musicgen.name), corpus, paths.model)
    start, preview = initial_model(params), None
    if params.train.preview_every and params.train.steps:
        preview = previewer(params, resolve_model_path, folder / PREVIEWS.name)
    with stopping_by_itself() as stop:
        return fit(params, corpus, paths, initial=start, preview=preview, loggers=loggers, stop=stop)


def initial_model(params: Params) -> Initial | None:
    """The model that train.init names, if any; UserError where its file is not the one that `check` has seen."""
    found, seen = locate(params, root(), tracking.model_file), read_json(EXTERNAL / "init.json")
    if found and found.sha256 != seen.get("sha256"):
        raise UserError(f"{found.path}: it has changed since `check` read it; run the same command again")
    return found


def paths_within(folder: Path) -> TrainingPaths:
    """Where a training writes what is put together once it has ended."""
    return TrainingPaths(
        checkpoints=folder,
        model=folder / MODEL.name,
        curves=folder / "curves.json",
        timings=folder / TIMINGS.name,
    )


def train(params: Params, folder: Path) -> None:
    """Train from where `folder` stands, and put all results together in it."""
    with tracking.begin(params.tracking, root(), params.training(), folder / RUN.name) as tracked:
        if not params.model.is_language_model:
            made, rows = system(params, folder), []
        else:
            result = model(params, folder, tracked.loggers)
            if result is None:  # rank 0 writes the results
                return
            made, rows = facts(result), result.rows
    with atomic_dir(folder / RESULT) as part:
        places = {out: part / out.name for out in OUTS}
        for out in OUTS[:-1]:
            places[out].mkdir()
        for file in (MODEL, SYSTEM):
            if (folder / file.name).exists():
                shutil.move(folder / file.name, places[MODEL.parent])
        for sound in sorted((folder / PREVIEWS.name).glob("*.flac")):
            shutil.copy(sound, places[PREVIEWS])
        if (folder / TIMINGS.name).exists():
            shutil.copy(folder / TIMINGS.name, places[RUN.parent])
        write_json(places[RUN.parent] / RUN.name, {**tracked.record, "training": made})
        write_curves(places[CURVES], rows)


def system(params: Params, folder: Path) -> dict[str, str]:
    """Note in a model's place which other system's audio is scored, or which pipeline is sampled; nothing is trained."""
    seen = read_json(EXTERNAL / "model.json")
    if params.model.type == "diffusers":
        write_json(folder / SYSTEM.name, {**params.model.diffusers.model_dump(), **seen})
        return {"published": f"{seen['name']}, digest {seen['state']}" if seen["state"] else seen["name"]}
    write_json(folder / SYSTEM.name, {**params.model.external.model_dump(), "digest": seen["external"]})
    return {"external": f"{params.model.external.name}, digest {seen['external']}"}


def facts(result: TrainingResult) -> dict[str, Any]:
    """What later stages and MLflow record of a training."""
    found = {"parameters": result.parameters, "best_step": result.best_step, "val_loss": result.val_loss}
    averages = {"val_loss_ema": result.ema_val_loss, "val_loss_raw": result.raw_val_loss}
    source = {"published": result.published, "initial": result.initial}
    return {**found, **averages, **{name: label for name, label in source.items() if label}}


def write_curves(path: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """The curves as the CSV that `dvc plots` draws: these columns always, empty where nothing was measured."""
    names = dict.fromkeys(("step", "epoch", "train_loss", *(rows[0] if rows else ("val_loss",))))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(names))
        writer.writeheader()
        writer.writerows(rows)  # every digit: MLflow's run may have to be written again from here


def hand_over(result: Path) -> None:
    """Copy the results to where DVC expects them."""
    for out in OUTS:
        if out == CURVES:
            with atomic_path(out) as part:
                shutil.copy(result / out.name, part)
        else:
            with atomic_dir(out) as part:
                shutil.copytree(result / out.name, part, dirs_exist_ok=True)


def weights(made: Mapping[str, Any]) -> str:
    """Where the weights of the model file come from."""
    if made["best_step"]:
        return f"step {made['best_step']}"
    return f"{made.get('published') or made['initial']}, not trained here"


def main(params: Params) -> None:
    set_up_torch(params.compute)
    folder = work_dir("train", params, besides=DIVISION)
    if not tracking.is_first_process():
        # Else there is nothing to do together.
        if params.train.steps and params.trained and not (folder / RESULT).exists():
            train(params, folder)
        return
    with held(folder, caller()):
        if not (folder / RESULT).exists():
            train(params, folder)
        hand_over(folder / RESULT)
    record = read_json(RUN)
    made = record["training"]
    if not params.model.is_language_model:
        print(f"nothing to train: {made['published'] if 'published' in made else 'the audio of ' + made['external']}")
        return
    print(f"best validation loss {made['val_loss']:.4f} nats per token: {weights(made)}")


if __name__ == "__main__":
    run(main)
