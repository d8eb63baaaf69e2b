"""One training from a corpus to a model file. It can be killed at any moment and called again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import lightning.pytorch as L
import torch
from lightning.pytorch.loggers import Logger

from musicgen_lite.device import fitting
from musicgen_lite.initial import Initial
from musicgen_lite.io.files import write_json
from musicgen_lite.models import LanguageModel
from musicgen_lite.params import Params
from musicgen_lite.training import checkpoints
from musicgen_lite.training.callbacks import Averaging, Curves, Patience, Preview, Previews, Progress
from musicgen_lite.training.corpus import Corpus
from musicgen_lite.training.datamodule import TokenData
from musicgen_lite.training.export import TrainingResult, export, export_untrained, load_weights
from musicgen_lite.training.module import TrainingModule, evaluate
from musicgen_lite.training.sampler import ClipLoader
from musicgen_lite.training.setup import TrainingSetup, recipe, set_up
from musicgen_lite.training.trainer import (
    build_trainer,
    interruptible,
    naming_a_lost_process,
    quiet,
    telling_where_it_goes_on,
)

CHECKPOINT_SECONDS = 30.0


@dataclass(frozen=True)
class TrainingPaths:
    """Where a training writes: the folder of its checkpoints, the model file, and curves and timings as JSON."""

    checkpoints: Path
    model: Path
    curves: Path
    timings: Path


def fit(
    params: Params,
    corpus: Corpus,
    paths: TrainingPaths,
    *,
    initial: Initial | None = None,
    preview: Preview | None = None,
    loggers: Sequence[Logger] = (),
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    stop: Callable[[], bool] = lambda: False,
    data: Callable[[TrainingSetup], TokenData] = TokenData,
) -> TrainingResult | None:
    """Train the model that `params` describe and write the best averaged weights, the curves and the timings.

    It starts from the weights of `initial`, or from random ones; with no steps to train, `initial` is written as it is. A
    training that was killed goes on from its last whole checkpoint, and ends as if it had never been stopped; with other
    processes or micro-batches it does so but for rounding and the draws of dropout. `preview` is
    called with the averaged model and the step. Once `stop()` is true, which is asked after each step, the training leaves
    a checkpoint and raises KeyboardInterrupt. `data` makes the batches. With several processes all call this; only rank 0 asks `stop`, writes, and
    returns a result, the others return None. UserError for a corpus and parameters that do not fit together, for
    parameters that this machine cannot serve, for an initial model of another kind, for checkpoints of another training, and
    for a loss that is no number.
    """
    setup = set_up(params, corpus, initial)
    result = (
        _train(setup, paths, preview, loggers, checkpoint_seconds, stop, data)
        if params.train.steps
        else _as_it_is(setup, paths)
    )
    if result is not None:
        write_json(paths.curves, result.rows)
        write_json(paths.timings, result.timings)
    return result


def _as_it_is(setup: TrainingSetup, paths: TrainingPaths) -> TrainingResult:
    """The initial model, validated and written."""
    scores = _validate(setup, setup.model, torch.device(setup.hardware.accelerator))
    extra = {"weights": f"as they are in {setup.initial}", "recipe": recipe(setup.params)}
    return export_untrained(setup.model, setup.corpus, scores, paths.model, extra, initial=setup.initial)


def _train(
    setup: TrainingSetup,
    paths: TrainingPaths,
    preview: Preview | None,
    loggers: Sequence[Logger],
    checkpoint_seconds: float,
    stop: Callable[[], bool],
    data: Callable[[TrainingSetup], TokenData],
) -> TrainingResult | None:
    """Take the steps, from the last checkpoint if there is one; None on non-zero ranks."""
    params = setup.params
    directory = paths.checkpoints.resolve()
    resume_from = checkpoints.resumable(directory, setup.identity)
    curves = Curves(len(setup.train_clips), params.train.effective_batch_size)
    best = checkpoints.best_checkpoints(directory, params.train.keep_best)
    last = checkpoints.SaveLast(directory, checkpoint_seconds, stop)
    module = TrainingModule(setup.model, params.train, params.seed, setup.corpus.frame_rate, setup.identity)
    with quiet():
        trainer = build_trainer(setup, [*_callbacks(setup, curves, preview), best, last], loggers, directory)
        if trainer.is_global_zero:
            processes = f", {trainer.world_size} processes" if trainer.world_size > 1 else ""
            print(f"train: on {setup.hardware}, {setup.batch_size} clips per micro-batch{processes}", flush=True)
        fits = fitting("train.batch_size", setup.batch_size, "set train.gradient_checkpointing to true")
        lost = naming_a_lost_process(trainer)
        with telling_where_it_goes_on(trainer, last), interruptible(trainer), lost, fits:
            trainer.fit(module, datamodule=data(setup), ckpt_path=resume_from, weights_only=True)
    if not trainer.is_global_zero:
        return None
    checkpoints.sweep(directory, best)
    raw_val_loss = _raw_val_loss(setup, module, directory)
    return export(setup, best.best_model_path, curves.rows, curves.timings, raw_val_loss, paths.model)


def _callbacks(setup: TrainingSetup, curves: Curves, preview: Preview | None) -> list[L.Callback]:
    """What happens around the steps, besides checkpoints."""
    train = setup.params.train
    averaging = Averaging(train.ema_decay, started=bool(setup.initial))
    callbacks: list[L.Callback] = [averaging, curves, Progress(curves, train.steps)]
    if preview is not None and train.preview_every:
        callbacks.append(Previews(preview, train.preview_every, averaging, curves))
    if train.patience:
        callbacks.append(Patience(train.patience))
    return callbacks


def _raw_val_loss(setup: TrainingSetup, module: TrainingModule, directory: Path) -> float:
    """Validation loss of the weights at the last step, not averaged."""
    load_weights(module.model, directory / checkpoints.LAST, "current_model_state")
    # The module itself is back on the CPU by now.
    return _validate(setup, module.model, torch.device(setup.hardware.accelerator))["val_loss"]


def _validate(setup: TrainingSetup, model: LanguageModel, device: torch.device) -> dict[str, float]:
    """The validation scores of a model outside of the steps."""
    validation = ClipLoader(setup.dataset, setup.validation_clips, setup.batch_size)
    return evaluate(model, validation, setup.corpus.frame_rate, device, setup.hardware.autocast)
