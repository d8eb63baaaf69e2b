"""Artifacts without a run are found in a real database, and removed with what MLflow itself offers."""

from pathlib import Path

import pytest

from musicgen_lite import tracking
from tests.support.tracked_runs import begin, client, settings

RUN_ID = "0123456789abcdef" * 2


@pytest.mark.slow
def test_deleted_and_unknown_runs_leave_with_their_files_and_others_stay(tmp_path: Path) -> None:
    ids = [begin(tmp_path, kept=name).record["run_id"] for name in ("kept", "deleted")]
    mlflow = client(tmp_path)
    (tmp_path / "sound.flac").write_bytes(b"fLaC")
    for run_id in ids:
        mlflow.log_artifact(run_id, str(tmp_path / "sound.flac"))
    folder = tmp_path / "mlartifacts"
    for name in (RUN_ID, "models"):  # MLflow's own folder beside those of the runs
        (folder / name).mkdir()
    mlflow.delete_run(ids[1])

    assert tracking.leftovers(settings(), tmp_path, 3600).folders == []
    found = tracking.leftovers(settings(), tmp_path, 0)
    assert (found.deleted, found.unknown) == ([ids[1]], [folder / RUN_ID])
    assert sorted(found.folders) == sorted([folder / ids[1], folder / RUN_ID])
    tracking.discard(settings(), tmp_path, found)
    assert tracking.leftovers(settings(), tmp_path, 0).folders == []
    assert sorted(path.name for path in folder.iterdir()) == sorted([ids[0], "models"])
    assert [path.name for path in folder.glob("*/*/*.flac")] == ["sound.flac"]
    assert mlflow.get_run(ids[0]).info.lifecycle_stage == "active"


@pytest.mark.slow
def test_without_a_database_nothing_is_unknown_and_runs_of_another_one_are_known(tmp_path: Path) -> None:
    (tmp_path / "mlartifacts" / RUN_ID).mkdir(parents=True)
    assert tracking.leftovers(settings(), tmp_path, 0).folders == []
    assert tracking.leftovers(settings(uri="http://localhost:1"), tmp_path, 0).folder is None
    run_id = begin(tmp_path, uri="sqlite:///other.db").record["run_id"]
    begin(tmp_path)
    (tmp_path / "mlartifacts" / run_id).mkdir()
    assert tracking.leftovers(settings(), tmp_path, 0).unknown == [tmp_path / "mlartifacts" / RUN_ID]
