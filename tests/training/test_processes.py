"""A training in several processes: the same curve and weights as in one, also where one is killed and others go on."""

import json
from pathlib import Path

import pytest
import torch

from musicgen_lite import models
from musicgen_lite.params import Params
from tests.support.corpora import paths, run, state, tiny_params, write_corpus
from tests.support.processes import train_together


def shared_by(processes: int, batch_size: int) -> Params:
    """20 steps of 4 clips, validated after 7, 13 and 20, for so many processes; nothing in them is drawn by rank."""
    return tiny_params(
        "b", dropout=0.0, steps=20, validations=3, strategy="ddp", devices=processes, batch_size=batch_size
    )


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_corpus(tmp_path_factory.mktemp("corpus"), short=True)  # so that ranks have unequal shares


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, stores: tuple[Path, Path]) -> Path:
    directory = tmp_path_factory.mktemp("alone")
    run(directory, shared_by(1, 4), stores)
    return directory


def assert_equal(found: Path, expected: Path) -> None:
    """Curves within 1e-5, weights, their averages and Adam's moments within 1e-4 of the largest."""
    rows, wanted = (json.loads(paths(directory).curves.read_text()) for directory in (found, expected))
    assert len(rows) == len(wanted)
    for row, other in zip(rows, wanted, strict=True):
        assert row == pytest.approx(other, rel=1e-5)
    mine, theirs = state(found), state(expected)
    assert mine.keys() == theirs.keys()
    for name, value in theirs.items():
        torch.testing.assert_close(mine[name], value, rtol=0.0, atol=1e-4 * max(1e-3, float(value.abs().max())))
    exported, other = (models.load(paths(directory).model)[0].state_dict() for directory in (found, expected))
    for name, value in other.items():
        torch.testing.assert_close(exported[name], value, rtol=0.0, atol=1e-5)


@pytest.mark.long
@pytest.mark.parametrize("processes", [2, 4])
def test_several_processes_train_as_one(tmp_path: Path, stores: tuple[Path, Path], alone: Path, processes: int) -> None:
    assert train_together(tmp_path, shared_by(processes, 1), stores, processes) == [""] * processes
    assert_equal(tmp_path, alone)


@pytest.mark.long
def test_a_killed_process_is_named_by_the_others_and_all_go_on(
    tmp_path: Path, stores: tuple[Path, Path], alone: Path
) -> None:
    """Step 9 is between two validations: each process has its share of the losses since the one before."""
    said = train_together(tmp_path, shared_by(2, 1), stores, 2, kill=(1, 9))
    assert said[1] == "ended with -9"
    assert said[0].startswith("train: process 0 of 2 lost another one")
    assert "the same command goes on from the last checkpoint" in said[0]
    assert train_together(tmp_path, shared_by(2, 1), stores, 2) == ["", ""]
    assert_equal(tmp_path, alone)


@pytest.mark.long
def test_other_numbers_of_processes_go_on_with_a_training(
    tmp_path: Path, stores: tuple[Path, Path], alone: Path
) -> None:
    train_together(tmp_path, shared_by(4, 1), stores, 4, kill=(3, 5))
    train_together(tmp_path, shared_by(2, 1), stores, 2, kill=(1, 16))
    assert state(tmp_path)["optimizer_states/0/state/0/step"] == 16
    run(tmp_path, shared_by(1, 2), stores)
    assert_equal(tmp_path, alone)


@pytest.mark.long
def test_what_is_dropped_out_leaves_no_process_waiting_for_a_gradient(
    tmp_path: Path, stores: tuple[Path, Path]
) -> None:
    params = tiny_params("b", dropout=0.5, steps=12, devices=2, strategy="ddp", batch_size=1)
    assert train_together(tmp_path, params, stores, 2) == ["", ""]
    assert paths(tmp_path).model.is_file()
