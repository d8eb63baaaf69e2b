"""Every case in which a result must have exactly one MLflow run, with the real pipeline, the real DVC and the real MLflow."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from musicgen_lite import tracking
from musicgen_lite.params import TrackingParams
from tests.pipeline.conftest import Base
from tests.support.mlflow_runs import EXPERIMENT, Runs, Server
from tests.support.project import ENVIRONMENT, Project, stages_run

pytestmark = [pytest.mark.pipeline, pytest.mark.long, pytest.mark.timeout(1800)]

LATER = ["train", "sample", "score_nll", "score_audio", "report", "track"]


@pytest.fixture(scope="module")
def runs(project: Project) -> Runs:
    """The project's runs, the first of them replayed from files."""
    assert project.stages_of("dvc", "repro") == ["check", "track"]
    return Runs(project)


@pytest.fixture(autouse=True)
def _reset(project: Project) -> Iterator[None]:
    yield
    project.reset()


def kill_in_training(project: Project, *command: str) -> None:
    """Start a command and kill it and all that it started once a training has written its first checkpoint."""
    process = subprocess.Popen(
        command, cwd=project.folder, env=ENVIRONMENT, start_new_session=True, stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
    )  # fmt: skip
    while not list(project.folder.glob("checkpoints/*/last.ckpt")):
        assert process.poll() is None, "it ended before its first checkpoint"
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_the_first_result_has_one_complete_run(project: Project, runs: Runs) -> None:
    (run,) = runs.all().values()
    assert (run.status, run.tags["complete"]) == ("FINISHED", "true")
    assert run.name.startswith("a-delay-")
    assert (run.params["train.steps"], run.params["sample.temperature"]) == ("6", "1.0")
    assert [step for step, _ in runs.curve(run)] == [3, 6]
    assert {"nll", "clap", "fad"} <= set(run.metrics)
    assert {"listen.html", "scores/nll.json", "tables/nll.json"} <= set(runs.artifacts(run))
    assert len(runs.client.get_run(run.run_id).outputs.model_outputs) == 1
    assert run.tags["train.dirty"] == run.tags["score.dirty"] == "false"
    assert run.tags["dvc.sample"].startswith("data/samples:")


def test_a_run_replayed_from_files_equals_the_one_that_the_training_fed(base: Base, runs: Runs) -> None:
    """In every digit of every curve, and in what was measured beside them; system metrics are the machine's."""
    (replayed,) = runs.all().values()
    fed = Runs(base.project)
    (live,) = fed.all().values()
    assert live.name == replayed.name
    assert live.content == replayed.content
    assert {"seconds", "tokens_per_second", "peak_memory_mb", "val_loss", "grad_norm"} <= set(live.metrics)
    for name in live.content[1]:
        curves = [[(p.step, p.value) for p in one.client.get_metric_history(run.run_id, name)]
                  for one, run in ((fed, live), (runs, replayed))]  # fmt: skip
        assert sorted(curves[0]) == sorted(curves[1]), name


def test_a_deleted_run_is_replayed_from_files(project: Project, runs: Runs) -> None:
    (run,) = runs.all().values()
    curve, artifacts = runs.curve(run), runs.artifacts(run)
    runs.client.delete_run(run.run_id)
    assert project.stages_of("dvc", "repro") == ["check", "track"]
    (replayed,) = runs.all().values()
    assert replayed.run_id != run.run_id
    assert (replayed.name, replayed.status, replayed.content) == (run.name, "FINISHED", run.content)
    assert (runs.curve(replayed), runs.artifacts(replayed)) == (curve, artifacts)


def test_other_sampling_in_a_parallel_queue_trains_nothing_and_repeats_the_trainings_params_and_curve(
    project: Project, runs: Runs
) -> None:
    before = runs.all()
    (trained,) = before.values()
    queued = project.run("dvc", "exp", "run", "--queue", "-S", "sample.temperature=1.5,0.5").stdout
    done = project.run("dvc", "exp", "run", "--run-all", "-j", "2")
    for name in re.findall(r"Queued experiment '([\w-]+)'", queued):
        ran = stages_run(project.run("dvc", "queue", "logs", name).stdout)
        assert ran == ["check", "sample", "score_audio", "report", "track"]
    found = runs.new(before)
    assert sorted(run.params["sample.temperature"] for run in found) == ["0.5", "1.5"], done.stdout
    for run in found:
        own = {"sample.temperature": run.params["sample.temperature"], "score.key": run.params["score.key"]}
        assert run.params == {**trained.params, **own}
        assert run.params["score.key"] != trained.params["score.key"]
        assert (run.status, run.tags["trained_by"]) == ("FINISHED", trained.tags["trained_by"])
        assert run.name == run.tags["score.experiment"] != "none"
        assert runs.curve(run) == runs.curve(trained)
        assert run.metrics["nll"] == trained.metrics["nll"]
    assert runs.all()[trained.run_id] == trained


def test_a_killed_training_and_a_failed_scoring_in_a_temporary_copy_end_in_one_run(
    project: Project, runs: Runs
) -> None:
    before = runs.all()
    steps = ["-S", "train.steps=300", "-S", "train.validations=10", "-S", "train.preview_every=0"]
    command = ["dvc", "exp", "run", "--temp", "-n", "apart", *steps]
    kill_in_training(project, *command)
    (run,) = runs.new(before)
    assert (run.name, run.status) == ("apart", "RUNNING")
    seen = runs.curve(run)

    # A judge that cannot be found: training and sampling succeed, scoring fails.
    failed = project.run(*command, "-S", "score.judge=not-there", check=False)
    assert failed.returncode != 0
    assert "score.judge" in failed.stdout
    assert {"train", "sample"} <= set(stages_run(failed.stdout))
    (run,) = runs.new(before)
    assert (run.status, "complete" in run.tags) == ("RUNNING", False)

    assert stages_run(project.run(*command).stdout)[-3:] == ["score_audio", "report", "track"]
    (again,) = runs.new(before)
    assert (again.run_id, again.status, again.tags["train.dirty"]) == (run.run_id, "FINISHED", "false")
    curve = runs.curve(again)
    assert [step for step, _ in curve] == list(range(30, 301, 30))
    assert curve[: len(seen)] == seen
    assert not list(project.folder.glob(".dvc/tmp/exps/**/mlflow.db"))
    assert not list(project.folder.glob("checkpoints/*/last.ckpt"))


def test_a_server_holds_the_runs_and_its_death_costs_nothing_computed(
    project: Project, runs: Runs, tmp_path: Path
) -> None:
    local, server = runs.all(), Server(tmp_path)
    try:
        server.wait()
        at = ["-S", f"tracking.uri={server.uri}", "-S", "train.steps=9"]
        assert project.stages_of("dvc", "exp", "run", *at, "-n", "served") == ["check", *LATER]
        served = Runs(project, server.uri)
        (run,) = served.all().values()
        assert (run.name, run.status) == ("served", "FINISHED")
        model = (project.folder / "data/model/model.safetensors").read_bytes()
        there = TrackingParams(uri=server.uri, experiment=EXPERIMENT, required=True)
        for name in ("served", "models:/musicgen-lite@latest-a"):
            assert tracking.model_file(there, project.folder, name).read_bytes() == model

        assert project.stages_of("dvc", "repro") == ["check", "track"]
        assert list(served.all()) == [run.run_id]

        served.client.delete_run(run.run_id)
        assert project.stages_of("dvc", "repro") == ["check", "track"]
        (replayed,) = served.all().values()
        assert replayed.content == run.content
        assert [one.version for one in served.client.search_model_versions("name = 'musicgen-lite'")] == ["1"]
        assert runs.all() == local
    finally:
        server.kill()
    died = project.run("dvc", "repro", check=False)
    assert died.returncode != 0
    assert f"tracking.uri {server.uri}: no MLflow server answers" in died.stdout
    assert stages_run(died.stdout) == ["check", "track"]

    assert project.stages_of("dvc", "exp", "run", "-S", "tracking.uri=") == ["check", "track"]
    (again,) = runs.new(local)
    assert (again.status, again.params["train.steps"]) == ("FINISHED", "9")
