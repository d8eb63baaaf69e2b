"""What happens around the training steps: averaged weights, curves, progress, previews, stopping early."""

import math
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, WeightAveraging
from torch import Tensor
from tqdm import tqdm

from musicgen_lite.models import LanguageModel
from musicgen_lite.training.dataset import Batch
from musicgen_lite.training.lora import merged
from musicgen_lite.training.schedule import ema_decay

Preview = Callable[[LanguageModel, int], None]


class Averaging(WeightAveraging):
    """Exponential moving average of the weights, which Lightning validates, saves and leaves in the model at the end.

    It is Lightning's EMAWeightAveraging with a warmup of the decay. `started`: whether the weights are worth keeping from
    the start; else the average begins with those of the first step.
    """

    def __init__(self, decay: float, started: bool = False) -> None:
        self.started = started

        def update(averaged: list[Tensor], current: list[Tensor], updates: Tensor | int) -> None:
            torch._foreach_lerp_(averaged, current, 1 - ema_decay(int(updates), decay))

        super().__init__(use_buffers=False, multi_avg_fn=update)

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if self.started and self._average_model is not None:
            self._average_model.n_averaged.fill_(1)  # at 0 torch replaces the average

    @property
    def model(self) -> LanguageModel:
        """The model with the averaged weights, outside of validation."""
        assert self._average_model is not None, "the average exists from the start of training"
        return self._average_model.module.model


class Patience(EarlyStopping):
    """Stops after `patience` validations without a lower loss, and stays stopped when resumed after that."""

    def __init__(self, patience: int) -> None:
        super().__init__("val_loss", patience=patience, check_on_train_epoch_end=False)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        trainer.should_stop = trainer.should_stop or self.wait_count >= self.patience


class Curves(Callback):
    """Records one row of metrics per validation.

    `rows` hold the reproducible ones: step, passes over the data, training loss since the last validation (total and per
    codebook, and of the tempo head in nats per clip), validation scores, learning rate, gradient norm before clipping. `timings` hold the others: seconds,
    tokens per second, peak memory. Loggers get both.
    """

    def __init__(self, clips: int, effective_batch_size: int) -> None:
        self.rows: list[dict[str, float]] = []
        self.timings: list[dict[str, float]] = []
        self.passes_per_step = effective_batch_size / clips
        self._losses: Tensor = torch.zeros((), dtype=torch.float64)  # NLL of each codebook, the tempo head's two
        self._cells = 0
        self._norms = 0.0
        self._steps = 0
        self._seconds = 0.0
        self._since = 0.0

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        losses, cells = self._over_all_processes(trainer)
        sums = {"losses": losses.tolist(), "cells": cells, "norms": self._norms, "steps": self._steps}
        checkpoint["curves"] = {"rows": self.rows, "timings": self.timings, "seconds": self._seconds, **sums}

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        saved = checkpoint["curves"]
        self.rows, self.timings = saved["rows"], saved["timings"]
        self._norms, self._steps, self._seconds = saved["norms"], saved["steps"], saved["seconds"]
        # What all processes had summed up is one's; now there may be another number of them.
        mine = int(trainer.is_global_zero)
        self._losses = torch.tensor(saved["losses"], dtype=torch.float64) * mine
        self._cells = saved["cells"] * mine

    def _over_all_processes(self, trainer: L.Trainer) -> tuple[Tensor, int]:
        """The sums since the last validation: losses, float64 on the CPU, and cells."""
        losses = trainer.strategy.reduce(self._losses.to(trainer.strategy.root_device, copy=True), reduce_op="sum")
        cells = trainer.strategy.reduce(losses.new_tensor(self._cells), reduce_op="sum")
        return losses.cpu(), int(cells)

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._since = time.perf_counter()

    on_train_start = on_train_epoch_start

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        losses = torch.cat([outputs["nll"], outputs["tempo"]])
        self._losses = self._losses.to(losses) + losses
        self._cells += batch.cells
        if (batch_idx + 1) % trainer.accumulate_grad_batches == 0 and math.isfinite(pl_module.grad_norm):
            self._norms += pl_module.grad_norm
            self._steps += 1
        now = time.perf_counter()
        self._seconds += now - self._since
        self._since = now

    def tokens_per_second(self) -> float:
        """Training tokens per second since the last validation."""
        return self._cells / max(self._seconds, 1e-9)

    def running_loss(self) -> float:
        """Mean training loss since the last validation, in nats per token."""
        return float(self._losses[:-2].sum()) / max(self._cells, 1)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        losses, cells = self._over_all_processes(trainer)
        nll, (tempo, clips) = losses[:-2], losses[-2:].tolist()
        row = {"step": trainer.global_step, "epoch": trainer.global_step * self.passes_per_step}
        row["train_loss"] = float(nll.sum() / cells)
        row |= {f"train_loss_q{q}": float(value * len(nll) / cells) for q, value in enumerate(nll, start=1)}
        if clips:
            row["tempo_loss"] = tempo / clips
        row |= pl_module.validation
        row["learning_rate"] = self._last_learning_rate(trainer)
        row["grad_norm"] = self._norms / max(self._steps, 1)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        timing = {
            "step": trainer.global_step,
            "seconds": self._seconds,
            "tokens_per_second": cells / self._seconds,
            "peak_memory_mb": memory if sys.platform != "darwin" else memory / 1024,
        }
        if pl_module.device.type == "cuda":
            timing["peak_gpu_memory_mb"] = torch.cuda.max_memory_allocated(pl_module.device) / 2**20
        self.rows = [*self.rows, row]
        self.timings = [*self.timings, timing]
        self._losses = torch.zeros_like(self._losses)
        self._cells, self._norms, self._steps, self._seconds = 0, 0.0, 0, 0.0
        for logger in trainer.loggers:
            logger.log_metrics(
                {key: value for key, value in {**timing, **row}.items() if key != "step"}, step=trainer.global_step
            )

    @staticmethod
    def _last_learning_rate(trainer: L.Trainer) -> float:
        """The learning rate of the last step; the scheduler is already at the next one."""
        schedule = trainer.lr_scheduler_configs[0].scheduler
        return schedule.base_lrs[0] * schedule.lr_lambdas[0](trainer.global_step - 1)


class Progress(Callback):
    """A bar with loss and speed in a terminal; elsewhere, and above the bar, one line per validation."""

    def __init__(self, curves: Curves, steps: int) -> None:
        self.curves = curves
        self.steps = steps
        self._bar: tqdm | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.is_global_zero and sys.stderr.isatty():
            self._bar = tqdm(desc="train", total=self.steps, initial=trainer.global_step, unit="step")

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._bar is not None and (batch_idx + 1) % trainer.accumulate_grad_batches == 0:
            loss, speed = self.curves.running_loss(), self.curves.tokens_per_second()
            self._bar.set_postfix_str(f"loss {loss:.3f}, {speed:,.0f} tokens/s", refresh=False)
            self._bar.update()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        row, timing = self.curves.rows[-1], self.curves.timings[-1]
        line = (
            f"train: step {row['step']}/{self.steps}  training loss {row['train_loss']:.4f}  "
            f"validation loss {row['val_loss']:.4f}  {row['bits_per_second']:,.0f} bits/s  "
            f"{timing['tokens_per_second']:,.0f} tokens/s"
        )
        tqdm.write(line, file=sys.stderr)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._close()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()


class Previews(Callback):
    """Calls `preview(model, step)` with the averaged weights after every `every`-th validation."""

    def __init__(self, preview: Preview, every: int, averaging: Averaging, curves: Curves) -> None:
        self.preview = preview
        self.every = every
        self.averaging = averaging
        self.curves = curves

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.is_global_zero and len(self.curves.rows) % self.every == 0:
            with torch.no_grad():
                self.preview(merged(self.averaging.model).eval(), trainer.global_step)
