"""A training belongs to one process at a time: two experiments of one training, and a training that lost its DVC."""

import csv
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch

from musicgen_lite.io.files import read_json
from musicgen_lite.io.work import HOLDER
from stages.runtime import ORPHANED
from tests.support.mlflow_runs import Runs
from tests.support.project import ENVIRONMENT, Project

pytestmark = [pytest.mark.pipeline, pytest.mark.long, pytest.mark.timeout(1800)]

# Long enough that a training is not over a second after its first checkpoint, when it hears of its DVC's end.
STEPS, EVERY = 600, 50


def of_steps(steps: int) -> list[str]:
    return ["-S", f"train.steps={steps}", "-S", f"train.validations={steps // EVERY}", "-S", "train.preview_every=0"]


LONG = of_steps(STEPS)
VALIDATED = list(range(EVERY, STEPS + 1, EVERY))


@pytest.fixture(autouse=True)
def _reset(project: Project) -> Iterator[None]:
    yield
    project.reset()


def works(project: Project, name: str) -> list[Path]:
    return list(project.folder.glob(f"checkpoints/*/{name}"))


def test_two_queued_experiments_of_one_training_train_once_and_have_a_run_each(project: Project) -> None:
    steps = STEPS // 4
    queued = project.run("dvc", "exp", "run", "--queue", *of_steps(steps), "-S", "sample.guidance=1,2").stdout
    names = re.findall(r"Queued experiment '([\w-]+)'", queued)
    project.run("dvc", "exp", "run", "--run-all", "-j", "2")
    logs = {name: project.run("dvc", "queue", "logs", name).stdout for name in names}
    waited = {name: re.findall(r"(\S+) \(process \d+ on .*\) does the same work", log) for name, log in logs.items()}
    trained = [name for name, log in logs.items() if f"train: step {steps}/{steps}" in log]
    assert len(trained) == 1, logs
    # The other one waits for it, or begins when it is done and takes what it left.
    assert all(found in ([], trained) for name, found in waited.items() if name not in trained), waited
    assert waited[trained[0]] == []
    assert all("best validation loss" in log for log in logs.values())

    runs = list(Runs(project).all().values())
    assert {run.name: run.status for run in runs} == dict.fromkeys(names, "FINISHED")
    assert {run.name: run.params["sample.guidance"] for run in runs} == dict(zip(names, ("1.0", "2.0"), strict=True))
    assert all(run.tags["score.experiment"] == run.name for run in runs)
    assert len({run.tags["trained_by"] for run in runs}) == 1
    assert [step for step, _ in Runs(project).curve(runs[1])] == [step for step in VALIDATED if step <= steps]
    assert not works(project, "*")


@pytest.mark.parametrize(("options", "shell"), [([], "/bin/sh"), (["--queue"], "/bin/bash")])
def test_a_training_whose_dvc_is_gone_stops_at_the_next_step_and_is_taken_up(
    project: Project, options: list[str], shell: str, tmp_path: Path
) -> None:
    """Only DVC itself is ended, by SIGTERM, as a service manager or a person ends one process."""
    environment = ENVIRONMENT | {"SHELL": shell}
    seed = ["-S", f"seed={len(options[0]) if options else 1}"]
    command = ["dvc", "exp", "run", *options, *LONG, *seed, "train"]
    before = Runs(project).all()
    with (tmp_path / "log").open("w") as log:
        dvc = subprocess.Popen(command, cwd=project.folder, env=environment, stdout=log, stderr=log)
        if options == ["--queue"]:
            dvc.wait()
            # The worker that it leaves behind keeps its output open.
            subprocess.run(
                ["dvc", "queue", "start"], cwd=project.folder, env=environment, stdout=log, stderr=log, check=True
            )
        while not works(project, "last.ckpt"):
            assert dvc.poll() in (None, 0), (tmp_path / "log").read_text()
            time.sleep(0.05)
        stage = psutil.Process(read_json(works(project, HOLDER)[0])["pid"])
        # The shell that DVC starts a stage through stands between the two, or has made way for the stage.
        starter = next(process for process in stage.parents() if "stages.train" not in process.cmdline()[-1])
        assert options == ["--queue"] or starter.pid == dvc.pid
        starter.terminate()
        while stage.is_running() and stage.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.05)
        dvc.wait()
    if options != ["--queue"]:
        assert ORPHANED in (tmp_path / "log").read_text()
    step = torch.load(works(project, "last.ckpt")[0], weights_only=True)["global_step"]
    (run,) = Runs(project).new(before)
    assert run.status == "FAILED"
    project.run("git", "checkout", "-q", "-f", ".")

    project.run("dvc", "exp", "run", *LONG, *seed, "train")
    (again,) = Runs(project).new(before)
    assert (again.run_id, again.status) == (run.run_id, "RUNNING")
    with (project.folder / "metrics/curves.csv").open() as file:
        assert [int(row["step"]) for row in csv.DictReader(file)] == VALIDATED
    assert 0 < step < STEPS
    assert not works(project, "*")
