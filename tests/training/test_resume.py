"""A training that was killed ends as if it had never been."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from musicgen_lite.errors import UserError
from musicgen_lite.training import checkpoints
from musicgen_lite.training.callbacks import Curves
from musicgen_lite.training.checkpoints import SaveLast
from musicgen_lite.training.module import TrainingModule
from tests.support.corpora import run, state, tiny_params, write_corpus, write_varied_corpus

PARAMS = tiny_params("b")  # with dropout in the model, 7 steps of 2 micro-batches, validated after steps 2, 5 and 7


class Killed(BaseException):
    """Stands for a signal: nothing in the training expects it."""


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_varied_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory, stores: tuple[Path, Path]) -> Path:
    directory = tmp_path_factory.mktemp("unbroken")
    run(directory, PARAMS, stores)
    return directory


def assert_same(directory: Path, unbroken: Path) -> None:
    for file in ("model.safetensors", "curves.json"):
        assert (directory / file).read_bytes() == (unbroken / file).read_bytes()
    found, expected = state(directory), state(unbroken)
    assert found.keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in found.items())
    names = [sorted(path.name for path in (place / "checkpoints").iterdir()) for place in (directory, unbroken)]
    assert names[0] == names[1]


def kill_at_call(monkeypatch: pytest.MonkeyPatch, owner: type, method: str, call: int) -> None:
    """Raise in the `call`-th call (from 0) of a method, before it does anything."""
    original: Callable[..., Any] = getattr(owner, method)
    calls = iter(range(10**6))

    def dying(*args: Any, **kwargs: Any) -> Any:
        if next(calls) == call:
            raise Killed
        return original(*args, **kwargs)

    monkeypatch.setattr(owner, method, dying)


def break_and_resume(
    directory: Path, stores: tuple[Path, Path], owner: type, method: str, call: int, seconds: float
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        kill_at_call(patch, owner, method, call)
        with pytest.raises(Killed):
            run(directory, PARAMS, stores, checkpoint_seconds=seconds)
    run(directory, PARAMS, stores, checkpoint_seconds=seconds)


def test_a_training_that_breaks_off_between_validations_ends_the_same(
    tmp_path: Path, stores: tuple[Path, Path], unbroken: Path
) -> None:
    break_and_resume(tmp_path, stores, TrainingModule, "training_step", 7, seconds=0.0)
    assert_same(tmp_path, unbroken)


PLACES = [
    *((TrainingModule, "training_step", call) for call in range(14)),
    *((TrainingModule, "validation_step", call) for call in (0, 1, 2, 5)),
    *((TrainingModule, "on_validation_epoch_end", call) for call in range(3)),
    *((Curves, "on_validation_end", call) for call in range(3)),
    *((SaveLast, "on_train_epoch_end", call) for call in range(3)),
]


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.0, 60.0])
def test_a_training_ends_the_same_wherever_it_breaks_off(
    tmp_path: Path, stores: tuple[Path, Path], unbroken: Path, seconds: float
) -> None:
    for number, (owner, method, call) in enumerate(PLACES):
        break_and_resume(tmp_path / str(number), stores, owner, method, call, seconds)
        assert_same(tmp_path / str(number), unbroken)


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_training_goes_on_with_steps_divided_otherwise_wherever_it_breaks_off(
    tmp_path: Path, stores: tuple[Path, Path], batch_size: int
) -> None:
    """As with other processes, a step has another number of micro-batches; without dropout only rounding may differ."""
    before, after = (tiny_params("b", dropout=0.0, batch_size=size) for size in (2, batch_size))
    expected = run(tmp_path, before, stores).rows
    for number, (owner, method, call) in enumerate(PLACES[::3]):
        place = tmp_path / str(number)
        with pytest.MonkeyPatch.context() as patch:
            kill_at_call(patch, owner, method, call)
            with pytest.raises(Killed):
                run(place, before, stores, checkpoint_seconds=0.0)
        for row, wanted in zip(run(place, after, stores).rows, expected, strict=True):
            assert row == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize(
    ("owner", "method"), [(TrainingModule, "training_step"), (TrainingModule, "validation_step"), (SaveLast, "_save")]
)
def test_ctrl_c_ends_a_training_without_a_model_and_it_goes_on_from_there(
    tmp_path: Path, stores: tuple[Path, Path], unbroken: Path, owner: type, method: str
) -> None:
    """Lightning takes the interrupt for itself: it exits with code 1, and leaves every later one ignored."""
    original: Callable[..., Any] = getattr(owner, method)

    def pressed(*args: Any, **kwargs: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return original(*args, **kwargs)

    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(owner, method, pressed)
            with pytest.raises(KeyboardInterrupt):
                run(tmp_path, PARAMS, stores, checkpoint_seconds=0.0)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, handler)
    assert not (tmp_path / "model.safetensors").exists()
    run(tmp_path, PARAMS, stores, checkpoint_seconds=0.0)
    assert_same(tmp_path, unbroken)


@pytest.mark.slow
def test_a_training_that_is_to_stop_leaves_a_checkpoint_of_the_step_under_way(
    tmp_path: Path, stores: tuple[Path, Path], unbroken: Path
) -> None:
    """It is asked once a step, three times behind a validation: steps 2, 5 and 7."""
    for step in range(1, PARAMS.train.steps + 1):
        place, asked = tmp_path / str(step), iter(range(1, 10))
        with pytest.raises(KeyboardInterrupt):
            run(place, PARAMS, stores, stop=lambda step=step, asked=asked: next(asked) == step)
        assert int(torch.load(place / "checkpoints/last.ckpt", weights_only=True)["global_step"]) == step
        assert not (place / "model.safetensors").exists()
        run(place, PARAMS, stores)
        assert_same(place, unbroken)


class Clock:
    """A trainer for which a step takes 1 s and a save as many as it is told; `saved` are the steps after which it saves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, saving_s: float) -> None:
        self.now, self.saving_s, self.saved = 0.0, saving_s, list[int]()
        self.global_step, self.accumulate_grad_batches, self.is_last_batch = 0, 1, False
        self.strategy = SimpleNamespace(broadcast=lambda value: value)
        monkeypatch.setattr(checkpoints.time, "monotonic", lambda: self.now)

    def save_checkpoint(self, path: Path) -> None:
        self.now += self.saving_s
        self.saved.append(self.global_step)


@pytest.mark.parametrize(
    ("pause_s", "saving_s", "saved"),
    [
        (0.0, 3.0, list(range(1, 61))),
        (10.0, 0.1, [10, 20, 30, 40, 50, 60]),
        (10.0, 0.5, [10, 20, 30, 40, 50, 60]),  # 5 %
        (10.0, 1.5, [10, 40]),
    ],
)
def test_slow_saves_are_rarer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pause_s: float, saving_s: float, saved: list[int]
) -> None:
    clock: Any = Clock(monkeypatch, saving_s)
    last = SaveLast(tmp_path, pause_s, lambda: False)
    for step in range(1, 61):
        clock.now += 1.0
        clock.global_step = step
        last.on_train_batch_end(clock, clock, None, None, step - 1)
    assert clock.saved == saved


def test_a_copy_of_a_broken_off_training_goes_on_as_the_original_would_and_leaves_that_alone(
    tmp_path: Path, stores: tuple[Path, Path], unbroken: Path
) -> None:
    """Lightning keeps the places of the best checkpoints, absolute, in each of them."""
    original, copy = tmp_path / "original", tmp_path / "copy"
    with pytest.MonkeyPatch.context() as patch:
        kill_at_call(patch, TrainingModule, "training_step", 12)
        with pytest.raises(Killed):
            run(original, PARAMS, stores, checkpoint_seconds=0.0)
    kept = {path: path.read_bytes() for path in (original / "checkpoints").iterdir()}
    shutil.copytree(original, copy)
    run(copy, PARAMS, stores)
    assert {path: path.read_bytes() for path in (original / "checkpoints").iterdir()} == kept
    assert_same(copy, unbroken)


def test_a_damaged_last_checkpoint_is_not_taken(tmp_path: Path, stores: tuple[Path, Path], unbroken: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        kill_at_call(patch, TrainingModule, "training_step", 12)
        with pytest.raises(Killed):
            run(tmp_path, PARAMS, stores, checkpoint_seconds=0.0)
    last = tmp_path / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:-1000])
    newest = tmp_path / "checkpoints" / "best-00000005.ckpt"
    assert newest.exists()
    steps: list[int] = []
    original = TrainingModule.training_step

    def count(module: TrainingModule, batch: Any, batch_idx: int) -> Any:
        steps.append(module.global_step)
        return original(module, batch, batch_idx)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingModule, "training_step", count)
        run(tmp_path, PARAMS, stores)
    assert steps == [5, 5, 6, 6]
    assert_same(tmp_path, unbroken)


def test_a_finished_training_is_not_run_again(tmp_path: Path, stores: tuple[Path, Path], unbroken: Path) -> None:
    result = run(tmp_path, PARAMS, stores)
    (tmp_path / "model.safetensors").unlink()
    with pytest.MonkeyPatch.context() as patch:
        kill_at_call(patch, TrainingModule, "training_step", 0)
        assert run(tmp_path, PARAMS, stores) == result
    assert_same(tmp_path, unbroken)


def test_checkpoints_of_another_training_are_refused(tmp_path: Path, stores: tuple[Path, Path]) -> None:
    run(tmp_path, tiny_params(steps=1), stores)
    with pytest.raises(UserError, match=r"last.ckpt: the checkpoint of a training with other parameters or data"):
        run(tmp_path, tiny_params(steps=2), stores)
    other = write_corpus(tmp_path / "corpus", train=11)
    with pytest.raises(UserError, match="other parameters or data"):
        run(tmp_path, tiny_params(steps=1), other)


# Forks trainings from one process, which has imported everything and computed nothing, and kills them at random moments
# after a checkpoint; the last one may finish. Prints how many were killed.
KILLER = """
import os, random, signal, sys, time
from pathlib import Path
from types import SimpleNamespace
import torch
torch.set_num_threads(1)
from tests.support.corpora import run, tiny_params
here, tokens, text = map(Path, sys.argv[1:4])
last = here / "checkpoints" / "last.ckpt"
moments, kills = random.Random(0), 0
written = lambda: last.stat().st_mtime_ns if last.exists() else 0
for life in range(5):
    before, ended, status = written(), 0, 0
    child = os.fork()
    if not child:
        run(here, tiny_params("b", steps=60, validations=4), (tokens, text), checkpoint_seconds=0.0)
        os._exit(0)
    while not ended and (life == 4 or written() == before):
        time.sleep(0.005)
        ended, status = os.waitpid(child, os.WNOHANG)
    time.sleep(moments.uniform(0, 0.15))
    if not ended:
        os.kill(child, signal.SIGKILL)
        kills += os.waitpid(child, 0)[1] == signal.SIGKILL
assert status == 0, status
print(kills)
"""


@pytest.mark.slow
def test_a_training_killed_by_the_system_ends_the_same(tmp_path: Path, stores: tuple[Path, Path]) -> None:
    tests = Path(__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": f"{tests.parent}:{tests.parent / 'src'}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", KILLER, str(tmp_path / "broken"), *map(str, stores)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) > 0  # behind what each of the trainings says
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        run(tmp_path / "whole", tiny_params("b", steps=60, validations=4), stores)
    finally:
        torch.set_num_threads(threads)
    assert_same(tmp_path / "broken", tmp_path / "whole")
