"""Checkpoints that are whole or absent, and the choice of the one to resume from."""

import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from lightning.fabric.plugins.io import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint

from musicgen_lite.errors import UserError
from musicgen_lite.io.files import atomic_path

LAST = "last.ckpt"
SAVING = 0.05  # the most of a training's time that is spent on saving between validations


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint to a temporary file in its folder and renames it, so that it is whole or absent.

    Lightning's own writer renames from the system's temporary folder, which copies if that is another file system.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        with atomic_path(path) as part:
            torch.save(checkpoint, part)


class BestCheckpoints(ModelCheckpoint):
    """Lightning's ModelCheckpoint, resumable from a folder that was moved: files are found by their names."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        def here(path: str) -> str:
            return path and str(Path(self.dirpath, Path(path).name))

        paths = {name: here(state_dict[name]) for name in ("best_model_path", "kth_best_model_path", "last_model_path")}
        kept = {here(path): loss for path, loss in state_dict["best_k_models"].items()}
        super().load_state_dict({**state_dict, **paths, "best_k_models": kept, "dirpath": self.dirpath})


def best_checkpoints(directory: Path, keep: int) -> ModelCheckpoint:
    """Keeps the `keep` checkpoints of the lowest validation loss, saved when a validation ends."""
    return BestCheckpoints(
        dirpath=directory,
        filename="best-{step:08d}",
        auto_insert_metric_name=False,
        monitor="val_loss",
        save_top_k=keep,
        save_on_train_epoch_end=False,
        # A validation that is repeated after a kill replaces its file.
        enable_version_counter=False,
    )


class SaveLast(Checkpoint):
    """Saves `last.ckpt` after every validation, and in between every `seconds`; 0 is after every step.

    Where a save takes long, as gigabytes do, the pauses are longer, so that training is not held up.
    Once `stop()` is true it saves after the present step, and ends the training as Ctrl-C does. `step`: the one from which
    this training would go on.
    """

    def __init__(self, directory: Path, seconds: float, stop: Callable[[], bool]) -> None:
        self.path = directory / LAST
        self.seconds = seconds
        self.stop = stop
        self.step = 0
        self._wait(0.0)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.step = trainer.global_step  # of the checkpoint that it resumes from, if any

    def _save(self, trainer: L.Trainer, stop: bool) -> None:
        start = time.monotonic()
        trainer.save_checkpoint(self.path)
        self.step = trainer.global_step
        self._wait(time.monotonic() - start)
        if stop:
            raise KeyboardInterrupt

    def _wait(self, took: float) -> None:
        """The next save between validations is due after `seconds`, or later after one that took so many."""
        self._due = time.monotonic() + (self.seconds and max(self.seconds, took / SAVING))

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # Gradients are not saved, so only between two optimizer steps; the last step before a validation is saved after it.
        if (batch_idx + 1) % trainer.accumulate_grad_batches or trainer.is_last_batch:
            return
        due, stop = trainer.strategy.broadcast((time.monotonic() >= self._due, self.stop()))
        if due or stop:
            self._save(trainer, stop)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._save(trainer, trainer.strategy.broadcast(self.stop()))


def read(path: Path) -> dict[str, Any] | None:
    """A checkpoint, or None if the file is missing or not whole."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, pickle.UnpicklingError):
        return None


def resumable(directory: Path, identity: str) -> Path | None:
    """The checkpoint to resume from: the last one, or the newest of the best ones where the last is damaged.

    None if there is none. UserError if the checkpoints belong to another training.
    """
    for path in (directory / LAST, *sorted(directory.glob("best-*.ckpt"), reverse=True)):
        checkpoint = read(path)
        if checkpoint is None:
            continue
        if checkpoint.get("identity") != identity:
            raise UserError(
                f"{path}: the checkpoint of a training with other parameters or data; "
                f"name another folder or delete {directory}"
            )
        return path
    return None


def sweep(directory: Path, best: ModelCheckpoint) -> None:
    """Remove checkpoints that are no longer among the best: Lightning never removes the one that it resumed from."""
    for path in directory.glob("best-*.ckpt"):
        if str(path) not in best.best_k_models:
            path.unlink()
