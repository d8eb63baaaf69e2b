"""Every case in which a result must have exactly one row, with the real DVC and the real MLflow on a toy project.

The toy computes nothing; its stages call `musicgen_lite.tracking` as the real ones do. Tests share one project, whose
first `dvc repro` is done by the fixture; each puts the workspace back to that commit.
"""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from .toys import Done, Server, Toy, command

pytestmark = [pytest.mark.pipeline, pytest.mark.timeout(1800)]

ALL = ["prepare", "sample", "score", "train"]
STEPS = 6


def expected_curve(d_model: int, steps: int) -> list[tuple[int, float]]:
    return [(step, round(d_model / step, 6)) for step in range(1, steps + 1)]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> tuple[Toy, Done]:
    folder = tmp_path_factory.mktemp("toys")
    toy = Toy.create(folder / "toy", folder / "remote")
    first = toy.must("dvc", "repro")
    assert toy.ran() == ALL
    toy.commit()
    return toy, first


@pytest.fixture
def toy(base: tuple[Toy, Done]) -> Iterator[Toy]:
    base[0].ran()
    yield base[0]
    base[0].reset()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"))
    server.wait()
    yield server
    if server.process.poll() is None:
        os.killpg(server.group, signal.SIGKILL)
    server.process.wait()


def test_repro_writes_one_row_and_a_second_repro_none(base: tuple[Toy, Done], toy: Toy) -> None:
    rows = toy.rows()
    (row,) = rows.values()
    assert row.status == "FINISHED"
    assert row.tags["complete"] == "true"
    assert row.name.startswith("a-")
    assert row.params["train.steps"] == "6"
    assert row.params["sample.temperature"] == "1.0"
    assert row.metrics["temperature"] == 1.0
    assert toy.curve(row) == expected_curve(8, STEPS)
    assert set(toy.artifacts(row)) == {"audio/techno.flac", "model/model.bin", "tables/prompts.json"}
    assert row.tags["train.dirty"] == row.tags["score.dirty"] == "false"
    assert row.tags["dvc.sample"].startswith("data/samples:")
    # MLflow is quiet: no logs of migrations, monitors or telemetry among the stages' own lines.
    assert not [line for line in base[1].text.splitlines() if "mlflow" in line.lower() or "alembic" in line]

    again = toy.must("dvc", "repro")
    assert toy.ran() == []
    assert toy.rows() == rows
    # CPU time, because the clock depends on what else this machine does.
    assert again.cpu < 10


def test_another_model_gets_a_row_named_after_its_experiment_and_going_back_gets_none(toy: Toy) -> None:
    before = toy.rows()
    toy.must("dvc", "exp", "run", "-n", "other", "-S", "model.type=b")
    assert toy.ran() == ["sample", "score", "train"]
    (row,) = toy.new_rows(before)
    assert (row.name, row.status, row.params["model.type"]) == ("other", "FINISHED", "b")
    assert toy.curve(row) == expected_curve(16, STEPS)
    commit = toy.must("git", "rev-parse", "HEAD").text.strip()
    assert row.tags["train.experiment"] == "other"
    assert row.tags["train.commit"] == row.tags["train.baseline"] == commit
    assert row.tags["train.dirty"] == "false"

    after = toy.rows()
    toy.must("dvc", "exp", "run", "-S", "model.type=a")
    assert toy.ran() == []
    assert toy.rows() == after


def test_changed_sampling_in_a_parallel_queue_copies_params_and_curve_to_new_rows(toy: Toy) -> None:
    toy.must("dvc", "exp", "run", "-S", "model.type=b")
    before = toy.rows()
    toy.ran()
    toy.must("dvc", "exp", "run", "--queue", "-S", "model.type=a,b", "-S", "sample.temperature=1.5")
    done = toy.must("dvc", "exp", "run", "--run-all", "-j", "2")
    assert toy.ran() == ["sample", "sample", "score", "score"], done.text
    rows = {row.params["model.type"]: row for row in toy.new_rows(before)}
    assert set(rows) == {"a", "b"}
    for kind, width in (("a", 8), ("b", 16)):
        row = rows[kind]
        (original,) = (old for old in before.values() if old.tags["trained_by"] == row.tags["trained_by"])
        assert row.params == {**original.params, "sample.temperature": "1.5", "score.key": row.params["score.key"]}
        assert row.params["score.key"] != original.params["score.key"]
        assert (row.status, row.metrics["temperature"]) == ("FINISHED", 1.5)
        assert row.name == row.tags["score.experiment"] != "none"
        assert toy.curve(row) == expected_curve(width, STEPS)
        assert toy.rows()[original.run_id] == original


def test_a_killed_training_and_a_failed_scoring_in_temporary_copies_end_in_one_row_of_the_main_repository(
    toy: Toy,
) -> None:
    before = toy.rows()
    run = ("dvc", "exp", "run", "--temp", "-n", "apart", "-S", "train.steps=8")
    toy.fails(*run, TOY_FAULT="train:kill")
    (row,) = toy.new_rows(before)
    assert (row.name, row.status, toy.curve(row)) == ("apart", "RUNNING", expected_curve(8, 3))

    failed = toy.fails(*run, TOY_FAULT="score:raise")
    assert "fault in score" in failed.text
    assert toy.ran() == ["sample", "train", "train from 3"]
    (row,) = toy.new_rows(before)
    assert (row.status, "complete" in row.tags) == ("RUNNING", False)

    toy.must(*run)
    assert toy.ran() == ["score"]
    (again,) = toy.new_rows(before)
    assert (again.run_id, again.status, again.tags["train.dirty"]) == (row.run_id, "FINISHED", "false")
    assert toy.curve(again) == expected_curve(8, 8)
    assert not list(toy.folder.glob(".dvc/tmp/exps/**/mlflow.db"))
    assert all(path.is_relative_to(toy.folder / "mlartifacts") for path in toy.folder.glob("**/techno.flac"))


def test_a_fresh_clone_replays_its_row_and_a_deleted_row_comes_back(toy: Toy, tmp_path: Path) -> None:
    (original,) = (row for row in toy.rows().values() if row.name.startswith("a-") and row.params["train.steps"] == "6"
                   and row.params["sample.temperature"] == "1.0")  # fmt: skip
    toy.must("dvc", "push", "-q")
    assert command(tmp_path, "git", "clone", "-q", str(toy.folder), "clone").code == 0
    clone = Toy(tmp_path / "clone")
    clone.must("dvc", "pull", "-q")
    clone.must("dvc", "repro")
    assert clone.ran() == []
    (row,) = clone.rows().values()
    assert row.run_id != original.run_id
    assert (row.name, row.status, row.content) == (original.name, "FINISHED", original.content)
    assert clone.curve(row) == expected_curve(8, STEPS)
    assert clone.artifacts(row) == toy.artifacts(original)

    clone.client().delete_run(row.run_id)
    clone.must("dvc", "repro")
    assert clone.ran() == []
    (replayed,) = clone.rows().values()
    assert replayed.run_id != row.run_id
    assert (replayed.name, replayed.status, replayed.content) == (row.name, "FINISHED", row.content)


def test_a_server_holds_the_rows_and_its_death_costs_nothing_computed(toy: Toy, server: Server) -> None:
    at = ("-S", f"tracking.uri={server.uri}")
    local = toy.rows()
    toy.must("dvc", "exp", "run", *at, "-n", "served", "-S", "train.steps=9")
    (row,) = toy.rows(server.uri).values()
    assert (row.name, row.status) == ("served", "FINISHED")
    assert toy.curve(row, server.uri) == expected_curve(8, 9)
    assert set(toy.artifacts(row, server.uri)) == {"audio/techno.flac", "model/model.bin", "tables/prompts.json"}

    again = toy.must("dvc", "repro")
    assert len(toy.rows(server.uri)) == 1
    assert again.cpu < 10

    toy.client(server.uri).delete_run(row.run_id)
    toy.ran()
    toy.must("dvc", "exp", "run", *at, "-n", "warm", "-S", "sample.temperature=2.0")
    assert toy.ran() == ["sample", "score"]
    (warm,) = toy.rows(server.uri).values()
    assert (warm.name, warm.status, warm.params["sample.temperature"]) == ("warm", "FINISHED", "2.0")
    assert warm.params["train.steps"] == "9"
    assert toy.rows() == local

    died = toy.fails("dvc", "exp", "run", *at, "-S", "train.steps=10", TOY_FAULT=f"train:stop={server.group}")
    assert toy.ran() == ["sample", "score", "train"]
    assert "training goes on" in died.text
    assert f"tracking.uri {server.uri}: no MLflow server answers" in died.text

    toy.must("dvc", "exp", "run", "-S", "train.steps=10", "-S", "tracking.uri=")
    assert toy.ran() == []
    (replayed,) = toy.new_rows(local)
    assert (replayed.status, toy.curve(replayed)) == ("FINISHED", expected_curve(8, 10))
