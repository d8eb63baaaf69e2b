"""A training belongs to one process at a time: two experiments of one training, and a training that lost its DVC."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipeline.project import Project
from tests.pipeline.runs import Runs

pytestmark = [pytest.mark.pipeline, pytest.mark.long, pytest.mark.timeout(1800)]

LONG = ["-S", "train.steps=300", "-S", "train.validations=3", "-S", "train.preview_every=0"]


@pytest.fixture(autouse=True)
def _reset(project: Project) -> Iterator[None]:
    yield
    project.reset()


def works(project: Project, name: str) -> list[Path]:
    return list(project.folder.glob(f"checkpoints/*/{name}"))


def test_two_queued_experiments_of_one_training_train_once_and_have_a_run_each(project: Project) -> None:
    queued = project.run("dvc", "exp", "run", "--queue", *LONG, "-S", "sample.guidance=1,2").stdout
    names = re.findall(r"Queued experiment '([\w-]+)'", queued)
    project.run("dvc", "exp", "run", "--run-all", "-j", "2")
    logs = {name: project.run("dvc", "queue", "logs", name).stdout for name in names}
    waited = {name: re.findall(r"(\S+) \(process \d+ on .*\) does the same work", log) for name, log in logs.items()}
    trained = [name for name, log in logs.items() if "train: step 300/300" in log]
    assert len(trained) == 1, logs
    assert waited == {name: [] if name in trained else trained for name in names}
    assert all("best validation loss" in log for log in logs.values())

    runs = list(Runs(project).all().values())
    assert {run.name: run.status for run in runs} == dict.fromkeys(names, "FINISHED")
    assert {run.name: run.params["sample.guidance"] for run in runs} == dict(zip(names, ("1.0", "2.0"), strict=True))
    assert all(run.tags["score.experiment"] == run.name for run in runs)
    assert len({run.tags["trained_by"] for run in runs}) == 1
    assert [step for step, _ in Runs(project).curve(runs[1])] == [100, 200, 300]
    assert not works(project, "*")
