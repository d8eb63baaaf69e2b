"""`train.init` with the real dvc.yaml: a run scored again as it is, a shipped model trained on, and what `check` refuses."""

import csv
from pathlib import Path

import pytest

from musicgen_lite import models
from tests.pipeline.conftest import Base
from tests.support.mlflow_runs import Run, Runs
from tests.support.project import Project, stages_run

pytestmark = [pytest.mark.pipeline, pytest.mark.timeout(1800)]

MODEL = "data/model/model.safetensors"
SHIPPED = "src/musicgen_lite/weights/models/a.safetensors"


@pytest.fixture(scope="module")
def first(project: Project) -> Run:
    """The run of the base project, written again from files into the copy's database."""
    assert project.stages_of("dvc", "repro") == ["check", "track"]
    (run,) = Runs(project).all().values()
    return run


def curve(project: Project) -> list[dict[str, str]]:
    with (project.folder / "metrics/curves.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def weights(path: Path) -> dict[str, bytes]:
    model, _ = models.load(path)
    return {name: value.numpy().tobytes() for name, value in model.state_dict().items()}


def test_without_steps_a_run_is_scored_again_as_a_run_of_its_own(base: Base, project: Project, first: Run) -> None:
    scores, loss = (project.folder / "metrics/nll.json").read_text(), curve(project)
    changes = ["-S", f"train.init={first.name}", "-S", "train.steps=0"]
    output = project.run("dvc", "exp", "run", *changes, "-n", "as-it-is").stdout
    # Its samples are the same bytes, so that their scores stand.
    assert stages_run(output) == ["check", "train", "sample", "score_nll", "report", "track"]
    assert "not trained here" in output
    assert (project.folder / "metrics/nll.json").read_text() == scores
    assert weights(project.folder / MODEL) == weights(base.project.folder / MODEL)
    [point] = curve(project)
    assert (point["step"], point["train_loss"]) == ("0", "")
    assert min(float(row["val_loss"]) for row in loss) == pytest.approx(float(point["val_loss"]), abs=1e-6)

    (run,) = Runs(project).new({first.run_id: first})
    assert (run.name, run.status) == ("as-it-is", "FINISHED")
    assert (run.params["train.init"], run.params["train.steps"], first.params["train.init"]) == (first.name, "0", "")
    assert run.tags["initial"].startswith(f"{first.name}, sha256 ")
    assert run.metrics["nll"] == first.metrics["nll"]
    assert f"0 steps of 8 clips, from {first.name}" in (project.folder / "data/report/index.html").read_text()
    project.run("musicgen-lite", "compare", first.name, "as-it-is")
    assert f"0 steps of 8 clips, from {first.name}" in (project.folder / "compare.html").read_text()
    assert project.stages_of("dvc", "repro") == ["check", "track"]
    project.reset()


def test_a_shipped_model_is_trained_on_and_another_one_makes_the_training_stale(base: Base, project: Project) -> None:
    """Putting the file in place and recording it is all that ships a model."""
    shipped = project.folder / SHIPPED
    model, extra = models.load(base.project.folder / MODEL)
    models.save(shipped, model.half(), extra)
    project.run("python", "-m", "pretraining.manifest")
    project.set(train__init="shipped")
    train = ("dvc", "repro", "-s", "check", "train")
    assert project.stages_of(*train) == ["check", "train"]
    # The validation loss of so few clips says nothing after so few steps.
    assert float(curve(project)[0]["train_loss"]) < float(curve(base.project)[0]["train_loss"])
    assert project.stages_of(*train) == ["check"]

    models.save(shipped, model.half(), {**extra, "other": True})  # the same name, another content
    damaged = project.run("python", "-m", "stages.check", check=False)
    assert damaged.returncode == 2
    assert f"error: train.init 'shipped': {shipped}: damaged: sha256 is" in damaged.stdout
    project.run("python", "-m", "pretraining.manifest")
    assert project.stages_of(*train) == ["check", "train"]


def test_what_a_training_cannot_start_from_stops_at_check(project: Project, first: Run) -> None:
    for changes, message in (
        ({"train__init": first.name, "model__pattern": "parallel"}, "model.pattern: the model has 'delay', here it is"),
        (
            {"train__init": first.name, "model__type": "b"},
            "model.type: the model has 'a', here it is 'b'; set model.type to a",
        ),
        ({"train__init": "gone.safetensors"}, "train.init 'gone.safetensors': there is no file"),
        ({"train__init": "gone"}, "train.init 'gone': 'gone': no finished run has this name or id; the newest are"),
        ({"train__init": "", "train__steps": 0}, "train.steps: found 0, which scores the model that train.init names"),
    ):
        project.reset()
        project.set(**changes)
        done = project.run("dvc", "repro", check=False)
        assert done.returncode != 0
        assert stages_run(done.stdout) == ["check"]
        assert message in done.stdout
        assert "Traceback" not in done.stdout
    project.reset()
