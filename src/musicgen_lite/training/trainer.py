"""Lightning's trainer as this project uses it."""

import contextlib
import logging
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import lightning.pytorch as L
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins.environments import TorchElasticEnvironment

from musicgen_lite.errors import UserError, first_line
from musicgen_lite.training.checkpoints import AtomicCheckpointIO, SaveLast
from musicgen_lite.training.setup import TrainingSetup


def build_trainer(
    setup: TrainingSetup, callbacks: list[L.Callback], loggers: Sequence[Logger], directory: Path
) -> L.Trainer:
    """The trainer for a setup; `directory` is its root for whatever Lightning writes by itself.

    UserError where torchrun or SLURM has started another number of processes than the parameters say.
    """
    train = setup.params.train
    try:
        if TorchElasticEnvironment.detect():  # Lightning would look later, and never with one device
            TorchElasticEnvironment().validate_settings(num_devices=train.devices, num_nodes=train.num_nodes)
        return L.Trainer(
            accelerator=setup.hardware.accelerator,
            devices=train.devices,
            num_nodes=train.num_nodes,
            strategy=train.strategy,
            precision=setup.hardware.precision,
            # An epoch of Lightning's is the interval from one validation to the next.
            max_epochs=len(setup.validation_steps),
            reload_dataloaders_every_n_epochs=1,
            num_sanity_val_steps=0,
            accumulate_grad_batches=setup.accumulation,
            callbacks=callbacks,
            logger=list(loggers) or False,
            plugins=[AtomicCheckpointIO()],
            default_root_dir=directory,
            use_distributed_sampler=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
    except ValueError as error:
        raise UserError(
            f"train.devices ({train.devices}) and train.num_nodes ({train.num_nodes}): {first_line(error)}; give torchrun, or SLURM, "
            "the same numbers"
        ) from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep Lightning's tips and hints off the console; its errors still come through."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"lightning\..*")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@contextlib.contextmanager
def telling_where_it_goes_on(trainer: L.Trainer, last: SaveLast) -> Iterator[None]:
    """Say on an interrupt at which step the training stopped, and from which the same command goes on."""
    try:
        yield
    except KeyboardInterrupt:
        step = trainer.global_step
        where = "there" if last.step == step else f"step {last.step}"
        if trainer.is_global_zero:
            with contextlib.suppress(OSError):  # the reader may be gone, too
                print(
                    f"train: stopped at step {step}; the same command goes on from {where}", file=sys.stderr, flush=True
                )
        raise


@contextlib.contextmanager
def naming_a_lost_process(trainer: L.Trainer) -> Iterator[None]:
    """Turn what gloo and NCCL raise where another process of the training is gone into a UserError."""
    try:
        yield
    except RuntimeError as error:
        if trainer.world_size == 1 or not any(backend in str(error) for backend in ("gloo", "NCCL")):
            raise
        raise UserError(
            f"train: process {trainer.global_rank} of {trainer.world_size} lost another one, whose own message says why "
            f"({first_line(error)}); the same command goes on from the last checkpoint, with as many processes or others"
        ) from error


@contextlib.contextmanager
def interruptible(trainer: L.Trainer) -> Iterator[None]:
    """Let Ctrl-C come out as KeyboardInterrupt: Lightning exits with code 1, and leaves later ones ignored."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit:
        if not trainer.interrupted:
            raise
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from None
