"""What was computed once is restored: in a queue, in a clone that pulls, and without dvc.lock."""

import re
from pathlib import Path

import pytest

from tests.pipeline.conftest import Base
from tests.support.project import Project, stages_run

pytestmark = [pytest.mark.pipeline, pytest.mark.long, pytest.mark.timeout(1800)]

RESTORED = ["check", "track"]


@pytest.fixture(scope="module")
def remote(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to which the project pushed the results of both models; model B's is that of an experiment alone."""
    folder = tmp_path_factory.mktemp("remote")
    project.run("dvc", "remote", "add", "-q", "-d", "store", str(folder))
    project.commit()
    project.run("dvc", "repro")
    project.run("dvc", "exp", "run", "-S", "model.type=b", "-n", "other")
    project.reset()
    assert "results of stages" in project.run("musicgen-lite", "push").stdout
    return folder


@pytest.fixture
def clone(project: Project, remote: Path, tmp_path: Path) -> Project:
    """A fresh clone that pulled."""
    project.run("git", "clone", "-q", str(project.folder), str(tmp_path / "clone"))
    made = Project(tmp_path / "clone")
    made.run("musicgen-lite", "pull")
    return made


def test_a_clone_that_pulled_computes_neither_model_again(clone: Project, project: Project) -> None:
    assert clone.stages_of("dvc", "repro") == RESTORED
    assert clone.stages_of("dvc", "exp", "run", "-S", "model.type=b", "-n", "other") == RESTORED
    assert clone.stages_of("dvc", "exp", "run", "-S", "model.type=a") == RESTORED
    # Both runs are replayed from files.
    assert sorted(clone.runs()) == sorted(project.runs())


def test_a_clone_without_dvc_lock_restores_as_much(clone: Project) -> None:
    (clone.folder / "dvc.lock").unlink()
    assert clone.stages_of("dvc", "repro") == RESTORED
    clone.run("git", "checkout", "-q", "dvc.lock")
    (clone.folder / "dvc.lock").unlink()
    assert clone.stages_of("dvc", "exp", "run", "-S", "model.type=b") == RESTORED


def test_dvc_alone_restores_what_dvc_lock_names(project: Project, remote: Path, tmp_path: Path) -> None:
    project.run("git", "clone", "-q", str(project.folder), str(tmp_path / "clone"))
    clone = Project(tmp_path / "clone")
    clone.run("dvc", "pull", "--run-cache")
    assert clone.stages_of("dvc", "repro") == RESTORED


def test_a_queue_of_what_was_seen_runs_nothing_again(base: Base, project: Project, remote: Path) -> None:
    project.run("dvc", "repro")
    runs = project.runs()
    queued = project.run("dvc", "exp", "run", "--queue", "-S", "model.type=a,b").stdout
    names = re.findall(r"Queued experiment '([\w-]+)'", queued)
    assert len(names) == 2, queued
    project.run("dvc", "exp", "run", "--run-all", "-j", "2")
    for name in names:
        assert stages_run(project.run("dvc", "queue", "logs", name).stdout) == RESTORED
    assert project.runs() == runs


def test_a_remote_that_is_gone_is_named_and_nothing_is_lost(project: Project, tmp_path: Path) -> None:
    project.run("dvc", "remote", "add", "-q", "gone", str(tmp_path / "gone"))
    project.run("git", "clone", "-q", str(project.folder), str(tmp_path / "clone"))
    clone = Project(tmp_path / "clone")
    for command, words in ((["pull", "-r", "nowhere"], "nowhere"), (["push", "-r", "nowhere"], "nowhere")):
        done = clone.run("musicgen-lite", *command, check=False)
        assert done.returncode == 2
        assert words in done.stdout
        assert "Traceback" not in done.stdout
