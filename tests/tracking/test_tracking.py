"""Rows in a real MLflow database, in this process; DVC's part is in tests/pipeline."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from musicgen_lite import tracking
from musicgen_lite.errors import UserError
from musicgen_lite.tracking import entries, training
from musicgen_lite.tracking.connection import Unreachable
from musicgen_lite.tracking.training import Run
from tests.support.tracked_runs import PARAMS, begin, client, content, settings


def find(root: Path, record: dict[str, Any], **changes: Any) -> tracking.RunRef | None:
    given = content(**changes)
    return tracking.find(settings(), root, record, given["scoring_params"], given["key_parts"])


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DVC_EXP_NAME", "DVC_EXP_BASELINE_REV", "RANK", "NODE_RANK", "LOCAL_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def dead() -> str:
    """The address of a server that does not exist."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def statuses(root: Path) -> dict[str, str]:
    """Status of every active run of the experiment, by run id."""
    mlflow = client(root)
    runs = mlflow.search_runs([mlflow.get_experiment_by_name("test").experiment_id])
    return {run.info.run_id: run.info.status for run in runs}


# Without a database


def test_nested_parameters_become_flat_text() -> None:
    assert entries.flatten(PARAMS | {"text": "x"}) == {
        "model.type": "a", "model.pattern": "delay", "train.steps": "2", "train.betas": "[0.9, 0.99]", "text": "x",
    }  # fmt: skip


def test_a_dead_server_is_named_within_seconds_before_a_training(dead: str, tmp_path: Path) -> None:
    start = time.monotonic()
    with pytest.raises(UserError, match=f"tracking.uri {dead}: no MLflow server answers .*refused.*tracking.required"):
        begin(tmp_path, uri=dead)
    assert time.monotonic() - start < 60  # MLflow itself would ask again for minutes


@pytest.mark.slow
def test_a_server_that_accepts_and_never_answers_is_named_within_seconds(tmp_path: Path) -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        with pytest.raises(UserError, match="timed out"):
            begin(tmp_path, uri=f"http://127.0.0.1:{mute.getsockname()[1]}")


def test_without_a_required_server_training_goes_on_without_a_run(
    dead: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with begin(tmp_path, uri=dead, required=False) as run:
        run.log({"val_loss": 1.0}, 1)
    assert run.record["run_id"] is None
    assert run.loggers == []
    assert json.loads(json.dumps(run.record)) == run.record
    assert f"warning: tracking.uri {dead}" in capsys.readouterr().err
    ref = tracking.close(settings(dead, required=False), tmp_path, run.record, **content())
    assert (ref.run_id, ref.created) == (None, False)
    with pytest.raises(UserError, match="no MLflow server answers"):
        tracking.close(settings(dead), tmp_path, run.record, **content())


@pytest.mark.parametrize(
    ("told", "first"),
    [
        ({}, True),
        ({"RANK": "0", "LOCAL_RANK": "0", "SLURM_PROCID": "1"}, True),  # torchrun, started by srun on each machine
        ({"RANK": "4", "LOCAL_RANK": "0", "SLURM_PROCID": "0"}, False),
        ({"LOCAL_RANK": "1", "SLURM_PROCID": "0"}, False),  # Lightning, in a shell that SLURM opened
        ({"NODE_RANK": "1"}, False),  # Lightning, started by hand on the second machine
        ({"NODE_RANK": "0", "LOCAL_RANK": "0"}, True),
        ({"SLURM_PROCID": "3"}, False),
    ],
)
def test_the_first_process_is_known_by_what_started_it(
    monkeypatch: pytest.MonkeyPatch, told: dict[str, str], first: bool
) -> None:
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    assert tracking.is_first_process() == first


def test_only_the_first_process_of_a_parallel_training_opens_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    run = begin(tmp_path)
    assert run.record["run_id"] is None
    assert not (tmp_path / "mlflow.db").exists()


def test_a_run_is_named_after_the_experiment_or_after_model_and_parameters(
    dead: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def name(params: dict[str, Any], kept: str) -> str:
        return begin(tmp_path, params, kept, uri=dead, required=False).record["name"]

    assert name(PARAMS, "a").startswith("a-delay-")
    assert name(PARAMS, "b") == name(PARAMS, "a") != name({**PARAMS, "seed": 1}, "c")
    monkeypatch.setenv("DVC_EXP_NAME", "bold-owl")
    assert name(PARAMS, "d") == "bold-owl"
    monkeypatch.setenv("DVC_EXP_NAME", "second-try")
    assert name(PARAMS, "d") == "second-try"


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("these are not runs" * 100)
    with pytest.raises(UserError, match=r"mlflow\.db: not a usable SQLite database"):
        begin(tmp_path)
    assert find(tmp_path, {"id": "0"}) is None


@pytest.mark.slow
def test_the_folder_of_a_database_is_made_or_named(tmp_path: Path) -> None:
    with begin(tmp_path, uri="sqlite:///results/runs/mlflow.db") as run:
        assert run.record["run_id"]
    assert (tmp_path / "results" / "runs" / "mlflow.db").is_file()
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(UserError, match=rf"its folder {tmp_path}/file cannot be made \(File exists\)"):
        begin(tmp_path, uri="sqlite:///file/mlflow.db")


@pytest.mark.slow
def test_a_database_of_another_version_of_mlflow_is_upgraded_by_the_command_that_the_error_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from alembic import command
    from mlflow.store.db import utils

    with begin(tmp_path) as run:
        pass
    command.downgrade(utils._get_alembic_config(f"sqlite:///{tmp_path / 'mlflow.db'}"), "-1")
    old = (tmp_path / "mlflow.db").read_bytes()
    root = tmp_path / "a folder"  # MLflow checks a database once in a process
    root.mkdir()
    (root / "mlflow.db").write_bytes(old)
    # Where a table is missing, MLflow takes the database for a new one and upgrades it unasked; this version's last
    # migration adds one, those of most versions do not.
    monkeypatch.setattr(utils, "_all_tables_exist", lambda engine: True)
    with pytest.raises(Unreachable, match="another version of MLflow") as error:
        begin(root)
    words = str(error.value)
    assert "<" not in words
    (shell,) = [part for part in words.split("`") if part.startswith("cp ")]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(shell, shell=True, check=True, capture_output=True, env={**os.environ, "PATH": path})
    assert (root / "mlflow.db.backup").read_bytes() == old
    with begin(root):
        assert client(root).get_run(run.record["run_id"]).info.run_id == run.record["run_id"]


# With a database


@pytest.fixture
def begun(tmp_path: Path) -> Iterator[Run]:
    with begin(tmp_path) as run:
        yield run


@pytest.mark.slow
def test_a_failed_training_resumes_into_its_run_and_closing_twice_changes_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), begin(tmp_path) as first:
        first.log({"val_loss": 4.0}, 1)
        raise RuntimeError
    run_id = first.record["run_id"]
    assert statuses(tmp_path) == {run_id: "FAILED"}
    with begin(tmp_path) as second:
        assert second.record["run_id"] == run_id
        assert statuses(tmp_path) == {run_id: "RUNNING"}
    assert statuses(tmp_path) == {run_id: "RUNNING"}
    assert find(tmp_path, second.record) is None

    ref = tracking.close(settings(), tmp_path, second.record, **content())
    assert (ref.run_id, ref.created, statuses(tmp_path)) == (run_id, False, {run_id: "FINISHED"})
    assert find(tmp_path, second.record) == ref
    assert tracking.close(settings(), tmp_path, second.record, **content()) == ref
    mlflow = client(tmp_path)
    assert [(point.step, point.value) for point in mlflow.get_metric_history(run_id, "val_loss")] == [
        (1, 4.0),
        (2, 3.0),
    ]
    assert len(mlflow.get_metric_history(run_id, "clap")) == 1
    import mlflow as fluent

    fluent.set_tracking_uri(f"sqlite:///{tmp_path / 'mlflow.db'}")
    table = mlflow.load_table(mlflow.get_run(run_id).info.experiment_id, "tables/prompts.json", [run_id])
    assert table["prompt"].tolist() == ["techno"]
    assert find(tmp_path, second.record, key_parts=["other"]) is None


@pytest.mark.slow
def test_a_training_that_is_killed_while_it_opens_its_run_takes_that_run_up_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(training, "log_parameters", killed)
        with pytest.raises(SystemExit):
            begin(tmp_path)
    (orphan,) = statuses(tmp_path)
    with begin(tmp_path) as run:
        pass
    assert run.record["run_id"] == orphan
    assert statuses(tmp_path) == {orphan: "RUNNING"}
    logged = client(tmp_path).get_run(orphan)
    assert logged.data.params["train.steps"] == "2"
    assert logged.data.tags["trained_by"] == run.record["id"]


@pytest.mark.slow
def test_a_close_that_is_cut_short_is_completed_by_the_next(
    begun: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise ConnectionResetError("connection reset")

    with monkeypatch.context() as patch:
        patch.setattr(entries, "log_files", fail)
        with pytest.raises(Unreachable, match="connection reset"):
            tracking.close(settings(), tmp_path, begun.record, **content())
        assert tracking.close(settings(required=False), tmp_path, begun.record, **content()).run_id is None
    assert statuses(tmp_path) == {begun.record["run_id"]: "RUNNING"}
    assert find(tmp_path, begun.record) is None
    ref = tracking.close(settings(), tmp_path, begun.record, **content())
    assert statuses(tmp_path) == {begun.record["run_id"]: "FINISHED"}
    assert find(tmp_path, begun.record) == ref


@pytest.mark.slow
def test_a_missing_file_is_named_and_leaves_the_run_open(begun: Run, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"page\.html: this artifact"):
        tracking.close(
            settings(required=False), tmp_path, begun.record, **content(files={"page.html": tmp_path / "page.html"})
        )
    assert statuses(tmp_path) == {begun.record["run_id"]: "RUNNING"}


@pytest.mark.slow
def test_results_that_race_for_a_run_get_one_each_and_equal_ones_share_it(begun: Run, tmp_path: Path) -> None:
    parts = ["p", "q", "r", "r", "q", "p"]
    refs: dict[int, tracking.RunRef] = {}

    def work(number: int) -> None:
        given = content(key_parts=[parts[number]])
        refs[number] = tracking.close(settings(), tmp_path, begun.record, **given)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(parts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    owners = {parts[number]: ref.run_id for number, ref in refs.items()}
    assert all(refs[number].run_id == owners[part] for number, part in enumerate(parts))
    assert len(set(owners.values())) == 3
    assert begun.record["run_id"] in owners.values()
    assert sum(ref.created for ref in refs.values()) == 2
    assert statuses(tmp_path) == dict.fromkeys(owners.values(), "FINISHED")
    assert len({ref.name for ref in refs.values()}) == 3


@pytest.mark.slow
def test_a_training_without_a_run_gets_one_when_tracking_answers_again(dead: str, tmp_path: Path) -> None:
    record = begin(tmp_path, uri=dead, required=False).record
    ref = tracking.close(settings(), tmp_path, record, **content())
    assert (ref.created, ref.name) == (True, record["name"])
    assert find(tmp_path, record) == tracking.RunRef(ref.run_id, ref.name, ref.link, created=False)
    run = client(tmp_path).get_run(ref.run_id)
    assert run.data.params["train.steps"] == "2"
    assert run.data.metrics == {"val_loss": 3.0, "clap": 0.25}


@pytest.mark.slow
def test_another_experiment_gets_runs_of_its_own(begun: Run, tmp_path: Path) -> None:
    tracking.close(settings(), tmp_path, begun.record, **content())
    other = tracking.close(settings(experiment="second"), tmp_path, begun.record, **content())
    assert other.created
    assert other.run_id != begun.record["run_id"]
    mlflow = client(tmp_path)
    mlflow.delete_experiment(mlflow.get_experiment_by_name("second").experiment_id)
    with pytest.raises(UserError, match="'second' was deleted in MLflow"):
        tracking.close(settings(experiment="second", required=False), tmp_path, begun.record, **content())


@pytest.mark.slow
def test_system_metrics_are_logged_while_a_training_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.2")
    with begin(tmp_path) as run:
        for _ in range(100):
            time.sleep(0.2)
            metrics = client(tmp_path).get_run(run.record["run_id"]).data.metrics
            if "system/cpu_utilization_percentage" in metrics:
                return
    raise AssertionError(f"no system metrics among {sorted(metrics)}")


@pytest.mark.slow
def test_processes_that_meet_at_a_fresh_database_all_get_their_run(tmp_path: Path) -> None:
    script = (
        "import sys; from musicgen_lite import tracking; from musicgen_lite.params import TrackingParams\n"
        "settings = TrackingParams(uri='', experiment='test', required=True)\n"
        "tracking.begin(settings, sys.argv[1], {}, f'{sys.argv[1]}/{sys.argv[2]}.json')"
    )
    source = Path(tracking.__file__).parent.parent.parent
    environment = {**os.environ, "PYTHONPATH": str(source)}
    processes = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path), str(number)], env=environment)
        for number in range(3)
    ]
    assert [process.wait(550) for process in processes] == [0, 0, 0]
    assert list(statuses(tmp_path).values()) == ["RUNNING"] * 3


@pytest.mark.slow
def test_lightning_feeds_the_run_without_ending_it_and_survives_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from lightning.pytorch import Trainer
    from lightning.pytorch.demos.boring_classes import BoringModel

    class Logged(BoringModel):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            output = super().training_step(batch, batch_idx)
            self.log("train_loss", output["loss"])
            return output

    def fit(run: Run) -> None:
        trainer = Trainer(
            max_steps=2, logger=run.loggers, log_every_n_steps=1, accelerator="cpu", limit_val_batches=0,
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        trainer.fit(Logged())

    with begin(tmp_path) as run:
        fit(run)
        mlflow = client(tmp_path)
        assert len(mlflow.get_metric_history(run.record["run_id"], "train_loss")) == 2
        assert statuses(tmp_path) == {run.record["run_id"]: "RUNNING"}

        def fail(*_: Any, **__: Any) -> None:
            raise ConnectionError("the server is gone")

        monkeypatch.setattr(type(mlflow), "log_batch", fail)
        fit(run)
    assert capsys.readouterr().err.count("the server is gone") == 1


@pytest.mark.slow
def test_the_run_of_a_training_has_the_name_of_the_experiment_whose_result_it_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two experiments share a training; the one that waited for it is scored first."""
    monkeypatch.setenv("DVC_EXP_NAME", "trained")
    with begin(tmp_path) as run:
        pass
    monkeypatch.setenv("DVC_EXP_NAME", "waited")
    waited = tracking.close(settings(), tmp_path, run.record, **content(key_parts=["of the second"]))
    monkeypatch.setenv("DVC_EXP_NAME", "trained")
    trained = tracking.close(settings(), tmp_path, run.record, **content(key_parts=["of the first"]))
    assert (waited.name, waited.run_id, waited.created) == ("waited", run.record["run_id"], False)
    assert (trained.name, trained.created) == ("trained", True)
    monkeypatch.setenv("DVC_EXP_NAME", "again")
    again = tracking.close(settings(), tmp_path, run.record, **content(key_parts=["of the second"]))
    assert (again.name, again.run_id) == ("waited", waited.run_id)
