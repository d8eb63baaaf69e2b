"""Repositories that lack something: git, a commit, a remote. Each is named with what to do, and nothing is lost."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.project import ENVIRONMENT, ROOT, Project, create

pytestmark = pytest.mark.pipeline


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return create(tmp_path_factory.mktemp("project"))


def test_an_archive_without_git_is_named_before_the_environment_is_made(tmp_path: Path) -> None:
    """What `git archive` gives: the files alone."""
    for name in ("Makefile", "requirements/install.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    done = Project(tmp_path).run("make", "repro", check=False)
    assert done.returncode == 2
    assert "no git repository" in done.stdout
    assert "git init && git add -A && git commit -m start" in done.stdout
    assert not (tmp_path / ".venv").exists()


def test_a_repository_without_a_commit_runs_and_is_named(project: Project, tmp_path: Path) -> None:
    shutil.copytree(project.folder, tmp_path / "new", ignore=shutil.ignore_patterns(".git"))
    new = Project(tmp_path / "new")
    new.run("git", "init", "-q")
    said = new.run("dvc", "repro", "check").stdout
    assert "no commit yet" in said
    assert "git add -A && git commit -m start" in said
    refused = new.run("dvc", "exp", "run", check=False)
    assert refused.returncode != 0
    assert "Empty git repo" in refused.stdout
    new.run("git", "add", "-A")
    new.run("git", "commit", "-qm", "start")
    assert "no commit yet" not in new.run("dvc", "repro", "check").stdout


def test_a_remote_that_is_gone_takes_nothing_and_serves_again_once_it_is_back(project: Project, tmp_path: Path) -> None:
    remote, away = tmp_path / "remote", tmp_path / "away"
    project.run("dvc", "repro", "check")
    project.run("dvc", "remote", "add", "-q", "-d", "store", str(remote))
    project.run("dvc", "push", "-q", "--run-cache")
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", "pushed")
    subprocess.run(["git", "clone", "-q", project.folder, tmp_path / "clone"], env=ENVIRONMENT, check=True)
    clone, pull = Project(tmp_path / "clone"), ("dvc", "pull", "--run-cache", "data/external")
    names = sorted(path.name for path in (project.folder / "data/external").iterdir())
    remote.rename(away)
    refused = clone.run(*pull, check=False)
    assert refused.returncode == 1
    assert "do not exist neither locally nor on remote" in refused.stdout
    project.run(*pull)  # what is here stays
    assert sorted(path.name for path in (project.folder / "data/external").iterdir()) == names
    away.rename(remote)
    clone.run(*pull)
    assert sorted(path.name for path in (clone.folder / "data/external").iterdir()) == names
