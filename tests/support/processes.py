"""One training in several processes, each of which is told its rank as torchrun tells it."""

import multiprocessing
import os
import signal
import socket
from pathlib import Path

import torch

from musicgen_lite.errors import UserError
from musicgen_lite.params import Params
from musicgen_lite.training.corpus import Corpus
from musicgen_lite.training.fit import fit
from musicgen_lite.training.module import TrainingModule
from tests.support.corpora import paths

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.support.processes"])  # the imports take longer than a training


def train_together(
    directory: Path, params: Params, stores: tuple[Path, Path], world: int, kill: tuple[int, int] | None = None
) -> list[str]:
    """Train into `directory` with a checkpoint after each step; what each rank said as it failed, "" where it did not.

    kill: a rank, and the step before which it kills itself.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ranks = [
        CONTEXT.Process(target=_train, args=(rank, world, port, directory, params, stores, kill))
        for rank in range(world)
    ]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(timeout=120)
        if process.exitcode is None:
            process.kill()
            process.join()
    return [_said(directory, rank, process.exitcode) for rank, process in enumerate(ranks)]


def _said(directory: Path, rank: int, exit_code: int | None) -> str:
    message = directory / f"error-{rank}.txt"
    if message.exists():
        text = message.read_text()
        message.unlink()
        return text
    return f"ended with {exit_code}" if exit_code else ""


def _train(
    rank: int,
    world: int,
    port: int,
    directory: Path,
    params: Params,
    stores: tuple[Path, Path],
    kill: tuple[int, int] | None,
) -> None:
    told = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world, "MASTER_PORT": port}
    os.environ |= {name: str(value) for name, value in told.items()}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "TORCHELASTIC_RUN_ID": "test"}
    torch.set_num_threads(1)
    step = TrainingModule.training_step

    def dying(self: TrainingModule, *arguments: object) -> object:
        if kill == (self.global_rank, self.global_step):
            os.kill(os.getpid(), signal.SIGKILL)
        return step(self, *arguments)  # type: ignore[arg-type]

    TrainingModule.training_step = dying  # type: ignore[method-assign, assignment]
    directory.mkdir(parents=True, exist_ok=True)
    try:
        fit(params, Corpus(*stores), paths(directory), checkpoint_seconds=0.0)
    except UserError as error:
        (directory / f"error-{rank}.txt").write_text(str(error))
