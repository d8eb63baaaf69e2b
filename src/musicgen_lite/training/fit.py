"""One training from a corpus to a model file. It can be killed at any moment and called again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import lightning.pytorch as L
from lightning.pytorch.loggers import Logger

from musicgen_lite.io.files import write_json
from musicgen_lite.params import Params, TrainParams
from musicgen_lite.training import checkpoints
from musicgen_lite.training.callbacks import Averaging, Curves, Patience, Preview, Previews, Progress
from musicgen_lite.training.corpus import Corpus
from musicgen_lite.training.datamodule import TokenData
from musicgen_lite.training.export import TrainingResult, export, load_weights
from musicgen_lite.training.module import TrainingModule, evaluate
from musicgen_lite.training.sampler import ClipLoader
from musicgen_lite.training.setup import TrainingSetup, set_up
from musicgen_lite.training.trainer import build_trainer, interruptible, quiet

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
    preview: Preview | None = None,
    loggers: Sequence[Logger] = (),
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    stop: Callable[[], bool] = lambda: False,
) -> TrainingResult | None:
    """Train the model that `params` describe and write the best averaged weights, the curves and the timings.

    A training that was killed goes on from its last whole checkpoint, and ends as if it had never been stopped. `preview` is
    called with the averaged model and the step. Once `stop()` is true, which is asked after each step, the training leaves
    a checkpoint and raises KeyboardInterrupt. With several processes all call this; only rank 0 asks `stop`, writes, and
    returns a result, the others return None. UserError for a corpus and parameters that do not fit together, for
    parameters that this machine cannot serve, for checkpoints of another training, and for a loss that is no number.
    """
    setup = set_up(params, corpus)
    directory = paths.checkpoints.resolve()
    resume_from = checkpoints.resumable(directory, setup.identity)
    curves = Curves(len(setup.train_clips), params.train.effective_batch_size)
    best = checkpoints.best_checkpoints(directory, params.train.keep_best)
    last = checkpoints.SaveLast(directory, checkpoint_seconds, stop)
    module = TrainingModule(setup.model, params.train, params.seed, corpus.frame_rate, setup.identity)
    with quiet():
        trainer = build_trainer(setup, [*_callbacks(params.train, curves, preview), best, last], loggers, directory)
        if trainer.is_global_zero:
            print(f"train: on {setup.hardware}, {setup.batch_size} clips per micro-batch", flush=True)
        with interruptible(trainer):
            trainer.fit(module, datamodule=TokenData(setup), ckpt_path=resume_from, weights_only=True)
    if not trainer.is_global_zero:
        return None
    checkpoints.sweep(directory, best)
    raw_val_loss = _raw_val_loss(setup, module, directory)
    result = export(setup, best.best_model_path, curves.rows, curves.timings, raw_val_loss, paths.model)
    write_json(paths.curves, result.rows)
    write_json(paths.timings, result.timings)
    return result


def _callbacks(train: TrainParams, curves: Curves, preview: Preview | None) -> list[L.Callback]:
    """What happens around the steps, besides checkpoints."""
    averaging = Averaging(train.ema_decay)
    callbacks: list[L.Callback] = [averaging, curves, Progress(curves, train.steps)]
    if preview is not None and train.preview_every:
        callbacks.append(Previews(preview, train.preview_every, averaging, curves))
    if train.patience:
        callbacks.append(Patience(train.patience))
    return callbacks


def _raw_val_loss(setup: TrainingSetup, module: TrainingModule, directory: Path) -> float:
    """Validation loss of the weights at the last step, not averaged."""
    load_weights(module.model, directory / checkpoints.LAST, "current_model_state")
    validation = ClipLoader(setup.dataset, setup.validation_clips, setup.batch_size)
    frame_rate, autocast = setup.corpus.frame_rate, setup.hardware.autocast
    return evaluate(module.model, validation, frame_rate, module.device, autocast)["val_loss"]
