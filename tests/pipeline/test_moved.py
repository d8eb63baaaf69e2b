"""A repository that was copied, whose original then goes: what is written lies in the copy, and in nothing else."""

import shutil
from pathlib import Path

import pytest

from tests.support.mlflow_runs import Runs
from tests.support.project import Project

pytestmark = [pytest.mark.pipeline, pytest.mark.long, pytest.mark.timeout(1800)]


def files(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file by path, with size and time."""
    found = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns) for path in found}


def test_an_experiment_in_a_copy_writes_into_the_copy_alone(project: Project, tmp_path: Path) -> None:
    assert project.stages_of("dvc", "repro") == ["check", "track"]
    moved, away = Project(tmp_path / "moved"), tmp_path / "away"
    shutil.copytree(project.folder, moved.folder, symlinks=True)
    kept, brought = files(project.folder), set(files(moved.folder / "mlartifacts"))
    moved.run("dvc", "exp", "run", "-S", "seed=9", "-n", "ninth")
    assert files(project.folder) == kept
    runs = Runs(moved)
    old, new = runs.all().values()
    assert (new.name, new.status) == ("ninth", "FINISHED")
    written = set(files(moved.folder / "mlartifacts")) - brought
    assert written
    [model] = [one.model_id for one in runs.client.get_run(new.run_id).outputs.model_outputs]
    assert all(name.startswith((f"{new.run_id}/", f"models/{model}/")) for name in written)
    locations = [one.source for one in runs.client.search_model_versions("name = 'musicgen-lite'")]
    assert len(locations) == 2
    assert all(one.startswith(f"{moved.folder}/mlartifacts/models/") for one in locations)

    project.folder.rename(away)
    try:
        output = moved.run("musicgen-lite", "compare", old.run_id, "ninth").stdout
        assert "ninth" in output
        assert (moved.folder / "compare.html").exists()
        runs.client.delete_run(new.run_id)
        assert moved.stages_of("dvc", "repro") == ["check", "track"]
        assert [run.name for run in runs.all().values()] == [old.name, "ninth"]
        assert not project.folder.exists()
    finally:
        away.rename(project.folder)
