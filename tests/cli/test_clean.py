"""`musicgen-lite clean` on a repository of DVC's own: what it removes is never missed by what was seen before."""

import subprocess
from pathlib import Path

import pytest
from filelock import FileLock
from typer.testing import CliRunner, Result

from musicgen_lite.cli import app
from musicgen_lite.sources import remote
from musicgen_lite.tracking import model_files
from tests.support.project import ENVIRONMENT
from tests.support.warm import warmed

PIPELINE = """
stages:
  score:
    cmd: mkdir -p out && cp value.txt out/ && tr 123 456 < value.txt > score.json
    deps: [value.txt]
    outs: [out]
    metrics:
      - score.json:
          cache: false
"""


def run(*command: str) -> str:
    done = subprocess.run(command, env=warmed(ENVIRONMENT), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def clean(*options: str) -> Result:
    return CliRunner().invoke(app, ["clean", "--days", "0", *options], catch_exceptions=False)


def is_restored(value: str) -> bool:
    """Whether the run cache knows the stage with this input, whatever the workspace and dvc.lock hold."""
    Path("value.txt").write_text(value)
    return "is cached - skipping run" in run("dvc", "repro")


def count(output: str, kind: str) -> int:
    """The number of files that stands behind a kind."""
    return next(int(line.split()[1]) for line in output.split("of these:")[1].splitlines() if line.startswith(kind))


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Results 1 and 3 are committed, 2 is in the run cache alone, and one object was added and forgotten."""
    monkeypatch.chdir(tmp_path)
    run("git", "init", "-q")
    run("dvc", "init", "-q")
    Path("dvc.yaml").write_text(PIPELINE)
    for value in "123":
        assert not is_restored(value)
        if value != "2":
            run("git", "add", "-A")
            run("git", "commit", "-qm", value)
    Path("forgotten").write_text("forgotten")
    run("dvc", "add", "-q", "forgotten")
    Path("forgotten.dvc").unlink()
    return tmp_path


@pytest.mark.pipeline
@pytest.mark.timeout(600)
def test_what_was_seen_before_is_restored_unless_it_is_given_up(repository: Path) -> None:
    told = clean()
    assert told.exit_code == 0, told.output
    assert (count(told.output, "objects"), count(told.output, "runs")) == (1, 4)  # entry, directory, file and metric
    assert "Nothing was removed" in told.output
    assert (count(clean().output, "objects"), count(clean().output, "runs")) == (1, 4)

    assert count(CliRunner().invoke(app, ["clean"]).output, "objects") == 0  # written today
    assert "removed" in clean("--remove", "objects").output
    assert count(clean().output, "objects") == 0
    assert all(is_restored(value) for value in "213")

    clean("--remove", "runs")
    assert count(clean().output, "runs") == 0
    assert is_restored("1")
    assert is_restored("3")
    assert not is_restored("2")


@pytest.mark.pipeline
def test_a_copy_in_which_an_experiment_runs_keeps_its_objects(repository: Path) -> None:
    copy = repository / ".dvc/tmp/exps/standalone/tmp1"
    run("git", "clone", "-q", ".", str(copy))
    # As DVC makes such a copy: it shares the cache, and holds no commit of what it computes.
    (copy / ".dvc/config.local").write_text(f"[cache]\n    dir = {repository}/.dvc/cache\n")
    Path("value.txt").write_text("2")
    run("dvc", "repro")
    (copy / "dvc.lock").write_text(Path("dvc.lock").read_text())
    Path("value.txt").write_text("3")
    run("dvc", "repro")
    assert count(clean().output, "runs") == 0


@pytest.mark.slow
def test_what_was_fetched_is_given_up_but_videos_and_what_is_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run("git", "init", "-q")
    run("dvc", "init", "-q")
    models, held = Path(model_files.FETCHED, "a"), Path(remote.KEPT, "held")
    kept = [Path("cache/musiccaps/yt_a_0-10.flac"), held / "a.wav"]
    given_up = [
        models / "model.safetensors",
        Path(remote.KEPT, "b/songs/a.wav"),
        Path("cache/runs/c/model.safetensors"),
    ]
    for path in (*kept, *given_up):
        path.parent.mkdir(parents=True)
        path.write_text("fetched")
    with FileLock(f"{held}.lock"):  # as while it is fetched
        assert count(clean().output, "fetched") == 3
        assert count(CliRunner().invoke(app, ["clean"]).output, "fetched") == 0  # used today
        clean("--remove", "fetched")
    assert [path for path in (*kept, *given_up) if path.exists()] == kept
    assert count(clean().output, "fetched") == 1


@pytest.mark.slow
def test_a_folder_that_is_no_repository_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    told = clean()
    assert told.exit_code == 2
    assert f"{tmp_path}: DVC's cache cannot be read" in told.output
    assert "git commit" in told.output
    run("git", "init", "-q")
    run("dvc", "init", "-q")
    assert clean().exit_code == 0
    run("dvc", "cache", "dir", "-q", str(tmp_path.parent / "shared"))
    told = clean()
    assert told.exit_code == 2
    assert "outside of the repository" in told.output
