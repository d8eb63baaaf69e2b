"""MusicGen tuned with the real dvc.yaml: by LoRA from a directory, then whole from MLflow's alias of that, and scored as it was."""

import re
from pathlib import Path

import pytest

from musicgen_lite import models
from tests.support import finetuning
from tests.support.mlflow_runs import Runs
from tests.support.project import Project, stages_run

pytestmark = [pytest.mark.pipeline, pytest.mark.long, pytest.mark.timeout(1800)]
PUBLISHED, BACK = "cache/musicgen", "cache/back"  # in the repository, outside of git
MODEL = "data/model/model.safetensors"
ALL = ["check", "train", "sample", "score_nll", "score_audio", "report", "track"]


@pytest.fixture(scope="module", autouse=True)
def _published(project: Project) -> Path:
    return finetuning.checkpoint(project.folder / PUBLISHED)


def experiment(project: Project, name: str, *changes: str) -> str:
    words = [word for one in ("model.type=musicgen", *changes) for word in ("-S", one)]
    return project.run("dvc", "exp", "run", "-n", name, *words).stdout


def test_a_published_model_is_tuned_generates_goes_back_and_stands_beside_others(project: Project) -> None:
    assert project.stages_of("dvc", "repro") == ["check", "track"]
    runs = Runs(project)
    [trained] = runs.all().values()

    output = experiment(
        project, "tuned", f"train.init={PUBLISHED}", "train.lora.rank=2", "train.lora.targets=[attention.qkv,cross.kv]",
        "train.gradient_checkpointing=true",
    )  # fmt: skip
    assert stages_run(output) == ALL
    assert "best validation loss" in output
    [run] = runs.new({trained.run_id: trained})
    assert (run.name, run.status, run.params["train.lora.rank"]) == ("tuned", "FINISHED", "2")
    assert run.params["train.init"] == PUBLISHED
    assert "model.name" not in run.params
    assert run.tags["initial"].startswith(f"{PUBLISHED}, sha256 ")
    assert run.metrics["nll"] > 0
    page = (project.folder / "data/report/index.html").read_text()
    # Which of the two validations is the better one is a matter of the processor's rounding.
    assert re.search(rf"\b[36] steps of 8 clips, LoRA of rank 2, from {PUBLISHED}", page)
    assert project.stages_of("dvc", "repro") == ["check", "track"]

    changed = models.load(project.folder / MODEL)[0].state_dict()
    project.run(
        "musicgen-lite", "generate", "Loud drums.", "--model", MODEL, "--seconds", "0.5", "--threads", "1", "-o", "own.wav"
    )  # fmt: skip
    assert (project.folder / "own.wav").stat().st_size == 44 + 2 * 8000
    project.run("musicgen-lite", "export", "tuned", BACK, "--format", "transformers")
    assert "| NLL, nats per token |" in (project.folder / BACK / "README.md").read_text()

    # What was written back is a published model as good as any: scored as it is, it is the tuned one.
    scores = project.metrics()
    output = experiment(project, "as-it-is", f"train.init={BACK}", "train.steps=0", "train.lora.rank=0")
    assert "not trained here" in output
    again = models.load(project.folder / MODEL)[0].state_dict()
    assert all((value == again[name]).all() for name, value in changed.items())
    assert project.metrics() == scores

    output = experiment(project, "whole", "train.init=models:/musicgen-lite@latest-musicgen", "train.steps=6")
    assert stages_run(output)[:2] == ["check", "train"]
    whole = models.load(project.folder / MODEL)[0].state_dict()
    assert all((value != changed[name]).any() for name, value in whole.items() if "norm" not in name)
    compared = " ".join(project.run("musicgen-lite", "compare", trained.name, "tuned", "whole").stdout.split())
    assert f"MusicGen tuned from {PUBLISHED}, delay" in compared
    assert "MusicGen tuned from models:/musicgen-lite@latest-musicgen, delay" in compared


def test_what_cannot_be_tuned_stops_at_check(project: Project) -> None:
    project.reset()
    finetuning.checkpoint(project.folder / "cache/other", num_codebooks=2)
    for changes, message in (
        ({"train__lora__targets": ["q_proj"]}, "train.lora.targets: found q_proj, which model.type musicgen does not have; it has"),
        ({"codec__num_codebooks": 2}, "codec.num_codebooks: the model has 4, here it is 2"),
        ({"train__init": "cache/other"}, "codec.num_codebooks: the model has 2, here it is 4"),
    ):  # fmt: skip
        project.reset()
        project.set(**{"model__type": "musicgen", "train__init": PUBLISHED, "train__lora__rank": 2, **changes})
        done = project.run("dvc", "repro", check=False)
        assert done.returncode != 0
        assert stages_run(done.stdout) == ["check"]
        assert message in done.stdout
        assert "Traceback" not in done.stdout
