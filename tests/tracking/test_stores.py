"""Runs in PostgreSQL with artifacts on S3: real servers, several experiments at once, and servers that fail."""

import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

import pytest

from musicgen_lite import model_facts, tracking
from musicgen_lite.errors import UserError
from musicgen_lite.params import TrackingParams
from musicgen_lite.tracking import entries
from musicgen_lite.tracking.connection import Connection, Unreachable, connect, locate
from musicgen_lite.tracking.logged import ModelFile
from tests.support.stores import BUCKET, S3, Postgres
from tests.support.tracked_runs import CURVES, PARAMS, content
from tests.test_generator import save

pytestmark = pytest.mark.slow

NAME = "musicgen-lite"
PLACE = f"s3://{BUCKET}/artifacts"
EXPERIMENTS = 8
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["mlflow", "boto3", "tests.support.processes", "tests.tracking.test_stores"])


def settings(uri: str = "", artifacts: str = PLACE, **changes: Any) -> TrackingParams:
    return TrackingParams(
        **{
            "uri": uri,
            "experiment": "test",
            "required": True,
            "artifacts": artifacts,
            "registered_model": NAME,
            **changes,
        }
    )


def train(place: TrackingParams, root: Path, seed: int = 0) -> dict[str, Any]:
    """What the stage `train` does with tracking."""
    root.mkdir(parents=True, exist_ok=True)
    with tracking.begin(place, root, {**PARAMS, "seed": seed}, root / "run.json") as run:
        for row in CURVES:
            run.log({"val_loss": row["val_loss"]}, int(row["step"]))
    return run.record


def close(place: TrackingParams, root: Path, record: dict[str, Any], model: Path) -> tracking.RunRef:
    """What the stage `track` does."""
    facts = model_facts.read(model).metadata("synthetic")
    return tracking.close(place, root, record, **content(), model=ModelFile(model, facts))


def experiment(place: TrackingParams, root: Path, seed: int, model: Path) -> None:
    os.environ["DVC_EXP_NAME"] = f"experiment-{seed}"
    close(place, root, train(place, root, seed), model)


def runs(place: TrackingParams, root: Path) -> list[Any]:
    connection = connect(locate(place, root))
    return list(connection.client.search_runs([connection.experiment_id]))


def artifacts(place: TrackingParams, root: Path, run_id: str) -> set[str]:
    """Paths of all files of a run."""
    client = connect(locate(place, root)).client

    def below(path: str | None) -> list[str]:
        return [
            name
            for item in client.list_artifacts(run_id, path)
            for name in (below(item.path) if item.is_dir else [item.path])
        ]

    return set(below(None))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("model") / "model.safetensors", "a")


@pytest.mark.long
def test_eight_experiments_at_once_end_as_eight_finished_runs_with_all_artifacts(
    tmp_path: Path, model: Path, postgres: Postgres, s3: S3, capfd: pytest.CaptureFixture[str]
) -> None:
    """Each from a repository of its own, as on eight machines: no lock of a file is between them, and the database is empty."""
    place = settings(postgres.uri)
    started = [
        CONTEXT.Process(target=experiment, args=(place, tmp_path / str(seed), seed, model))
        for seed in range(EXPERIMENTS)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join()
    assert [process.exitcode for process in started] == [0] * EXPERIMENTS
    assert "rror" not in capfd.readouterr().err
    found = runs(place, tmp_path)
    assert sorted(run.info.run_name for run in found) == [f"experiment-{seed}" for seed in range(EXPERIMENTS)]
    assert {run.info.status for run in found} == {"FINISHED"}
    for run in found:
        assert run.data.tags["complete"] == "true"
        assert run.data.metrics["clap"] == 0.25
        assert artifacts(place, tmp_path, run.info.run_id) == {"tables/prompts.json", "audio/a.flac", "images/a.png"}
    versions = connect(locate(place, tmp_path)).client.search_model_versions(f"name = '{NAME}'")
    assert sorted(int(one.version) for one in versions) == list(range(1, EXPERIMENTS + 1))
    stored = s3.objects("artifacts/models/")
    assert sum(key.endswith("model.safetensors") for key in stored) == EXPERIMENTS
    reached = tracking.tracked_model(place, tmp_path, f"models:/{NAME}@latest-a")
    assert reached.path.read_bytes() == model.read_bytes()
    assert not list(tmp_path.glob("*/mlartifacts"))


def test_a_second_call_finds_the_run_and_writes_nothing(
    tmp_path: Path, model: Path, postgres: Postgres, s3: S3
) -> None:
    place = settings(postgres.uri)
    record = train(place, tmp_path)
    first = close(place, tmp_path, record, model)
    before = list(s3.written)
    assert close(place, tmp_path, record, model) == first
    assert s3.written == before
    assert len(runs(place, tmp_path)) == 1


def test_a_dead_database_is_named_within_seconds(tmp_path: Path, postgres: Postgres) -> None:
    postgres.stop()
    start = time.monotonic()
    with pytest.raises(Unreachable, match=rf"tracking.uri {postgres.uri}: .*onnection refused.*start it, .*required"):
        train(settings(postgres.uri, ""), tmp_path)
    assert time.monotonic() - start < 60  # MLflow itself would ask again for minutes


def test_a_wrong_password_and_one_in_the_parameters_are_named(
    tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", "wrong")
    with pytest.raises(Unreachable, match="password authentication failed"):
        train(settings(postgres.uri, ""), tmp_path)
    with pytest.raises(UserError, match="PGPASSWORD") as caught:
        train(settings(postgres.uri.replace("music@", "music:wrong@"), ""), tmp_path)
    assert "wrong" not in str(caught.value)


@pytest.mark.parametrize("required", [True, False])
def test_the_run_of_a_database_that_goes_during_the_training_is_replayed(
    tmp_path: Path, model: Path, postgres: Postgres, s3: S3, capsys: pytest.CaptureFixture[str], required: bool
) -> None:
    place = settings(postgres.uri, required=required)
    with tracking.begin(place, tmp_path, PARAMS, tmp_path / "run.json") as run:
        run.log({"val_loss": 4.0}, 1)
        postgres.stop()
        run.log({"val_loss": 3.0}, 2)
    assert "training goes on, and the last stage logs what is missing" in capsys.readouterr().err
    if required:
        with pytest.raises(Unreachable, match="onnection refused"):
            close(place, tmp_path, run.record, model)
    else:
        assert close(place, tmp_path, run.record, model).run_id is None
        assert "warning: tracking.uri postgresql://" in capsys.readouterr().err
    postgres.start()
    ref = close(place, tmp_path, run.record, model)
    (found,) = runs(place, tmp_path)
    assert (found.info.run_id, found.info.status) == (ref.run_id, "FINISHED")
    history = connect(locate(place, tmp_path)).client.get_metric_history(found.info.run_id, "val_loss")
    assert sorted((point.step, point.value) for point in history) == [(1, 4.0), (2, 3.0)]


def test_a_database_that_goes_while_a_result_is_logged_gets_it_the_next_time(
    tmp_path: Path, model: Path, postgres: Postgres, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = settings(postgres.uri)
    record = train(place, tmp_path)
    with monkeypatch.context() as patch:
        upload = entries.log_files

        def gone(connection: Connection, run_id: str, contents: Any, *others: Any) -> None:
            upload(connection, run_id, contents, {}, {})
            postgres.stop()
            upload(connection, run_id, contents, *others)

        patch.setattr(entries, "log_files", gone)
        with pytest.raises(Unreachable, match="MLflow failed"):
            close(place, tmp_path, record, model)
    postgres.start()
    close(place, tmp_path, record, model)
    (found,) = runs(place, tmp_path)
    assert (found.info.status, found.data.tags["complete"]) == ("FINISHED", "true")
    assert artifacts(place, tmp_path, found.info.run_id) == {"tables/prompts.json", "audio/a.flac", "images/a.png"}
    versions = connect(locate(place, tmp_path)).client.search_model_versions(f"name = '{NAME}'")
    assert len(versions) == 1


def test_a_bucket_that_is_not_there_or_not_answered_for_is_named_before_the_training(
    tmp_path: Path, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Unreachable, match=r"tracking.artifacts s3://other/x: S3 failed \(.*404.*AWS_ENDPOINT_URL"):
        train(settings(artifacts="s3://other/x"), tmp_path)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(
        Unreachable, match=rf"tracking.artifacts {PLACE}: S3 failed \(Could not connect to the endpoint"
    ):
        train(settings(), tmp_path)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(Unreachable, match="Unable to locate credentials"):
        train(settings(), tmp_path)


def test_a_full_bucket_is_named_and_the_run_is_completed_once_there_is_room(
    tmp_path: Path, model: Path, s3: S3, capsys: pytest.CaptureFixture[str]
) -> None:
    place = settings()
    record = train(place, tmp_path)
    s3.full = True
    with pytest.raises(
        Unreachable, match=rf"tracking.artifacts {PLACE}: S3 failed \(.*QuotaExceeded.*the same command"
    ):
        close(place, tmp_path, record, model)
    assert close(settings(required=False), tmp_path, record, model).run_id is None
    assert "QuotaExceeded" in capsys.readouterr().err
    s3.full = False
    ref = close(place, tmp_path, record, model)
    (found,) = runs(place, tmp_path)
    assert (found.info.run_id, found.info.status) == (ref.run_id, "FINISHED")
    assert artifacts(place, tmp_path, found.info.run_id) == {"tables/prompts.json", "audio/a.flac", "images/a.png"}


def test_an_experiment_keeps_the_place_of_its_artifacts(tmp_path: Path, s3: S3) -> None:
    train(settings(artifacts=""), tmp_path)
    with pytest.raises(UserError, match=r"'test' has its artifacts in /.*; give tracking.experiment another name"):
        train(settings(), tmp_path)


def test_a_model_that_is_gone_from_the_bucket_is_named(tmp_path: Path, model: Path, s3: S3) -> None:
    place = settings()
    ref = close(place, tmp_path, train(place, tmp_path), model)
    for key in s3.objects("artifacts/models/"):
        s3.client().delete_object(Bucket=BUCKET, Key=key)
    with pytest.raises(UserError, match="hold no model"):
        tracking.tracked_model(place, tmp_path, str(ref.run_id))
