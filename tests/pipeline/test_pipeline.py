"""The whole pipeline for real on a tiny setting: `dvc repro`, experiments, determinism, wrong parameters."""

import json
import re
import sqlite3
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from benchmarks import gpu_pipeline as gpu
from musicgen_lite import models
from musicgen_lite.io.arrays import ArrayStore
from musicgen_lite.io.samples import SampleStore
from musicgen_lite.tracking.ui import METRICS
from stages import INTERRUPTED
from tests.pipeline.conftest import Base
from tests.support import dependencies, musicgen_checkpoint
from tests.support.project import Project, stages_run

pytestmark = pytest.mark.pipeline

LATER = ["train", "sample", "score_nll", "score_audio", "report", "track"]


@pytest.mark.timeout(900)
def test_the_first_run_leaves_scores_sounds_a_page_and_one_mlflow_run(base: Base) -> None:
    assert stages_run(base.output)[:2] == ["check", "download"]
    assert "dvc exp run -S model.type=b" in base.output
    # MLflow is quiet: no logs of migrations, monitors or telemetry among the stages' own lines.
    assert not [line for line in base.output.splitlines() if "alembic" in line or "telemetry" in line.lower()]
    project = base.project
    found = project.metrics()
    assert set(found) == {"nll", "audio"}
    assert 0 < found["nll"]["nll"] < 10
    assert len(project.columns()) <= 10
    assert all(np.isfinite(value) for scores in found.values() for value in scores.values())
    samples = SampleStore(project.folder / "data/samples")
    assert len(samples) == (4 + 3) * 2
    picks = Counter((one.kind, one.prompt_id) for one in samples.samples if one.picked)
    assert len(picks) == 4 + 3
    assert set(picks.values()) == {1}
    assert len(samples.wave("fixed", "fixed-0", 0)[0]) == 16160
    page = (project.folder / "data/report/index.html").read_text()
    assert page.count("data:audio/flac;base64,") >= 3 + 4 * 3
    assert [status for _, status in project.runs()] == ["FINISHED"]
    with sqlite3.connect(project.folder / "mlflow.db") as database:
        logged = {key for (key,) in database.execute("SELECT key FROM latest_metrics")}
    assert {*METRICS, "clap_n1", "nll_q4", "silent", "memorised", "kad_mel", "fad_codec_recon"} - {"tempo"} <= logged


def test_lengths_are_rounded_alike_everywhere_and_a_crop_below_the_target_is_scored_in_windows(base: Base) -> None:
    """1.51 s are 75.5 frames of the codec, and 1.01 s 50.5."""
    data = base.project.folder / "data"
    tokens = ArrayStore(data / "tokens" / "target")
    assert set(tokens.index["length"]) == {76}
    model, _ = models.load(data / "model" / "model.safetensors")
    assert model.config.max_frames == 51
    table = pd.read_parquet(data / "scores" / "nll" / "nll.parquet")
    assert table["frames"].tolist() == [76] * 8
    notes = json.loads((data / "scores" / "nll" / "details.json").read_text())["notes"]["nll"]
    assert notes["cells"] == 8 * 76 * 4
    assert notes["windows"].startswith("clips of up to 76 frames, scored in windows of at most 51")


def test_few_test_tracks_are_said_in_the_log_and_on_the_page(base: Base) -> None:
    said = "FAD and KAD are between clips of 4 test tracks (the reference) and of 4 others"
    assert f"warning: {said}" in base.output
    assert said in (base.project.folder / "data/report/index.html").read_text()


def test_what_each_stage_imported_is_declared_or_exempt(base: Base) -> None:
    """Against the imports that are read from the source: what Python itself says of the processes that ran."""
    seen = {file.name.split(".")[0] for file in base.imports.iterdir()}
    assert seen == set(dependencies.STAGES)
    for file in base.imports.iterdir():
        stage = file.name.split(".")[0]
        undeclared = [
            name
            for name in file.read_text().splitlines()
            if not dependencies.is_declared(stage, name)
            and not dependencies.is_exempt(name, stage)
            and not dependencies.STAGES[stage].get("always_changed")
        ]
        assert not undeclared, stage


def test_a_second_repro_computes_nothing_and_makes_no_new_run(base: Base, project: Project) -> None:
    assert base.project.stages_of("dvc", "repro") == ["check", "track"]
    assert len(base.project.runs()) == 1
    # The copy has no MLflow database: its run is written again from files.
    assert project.stages_of("dvc", "repro") == ["check", "track"]
    assert project.runs() == base.project.runs()


def test_dvc_draws_the_six_plots(project: Project) -> None:
    drawn = json.loads(project.run("dvc", "plots", "show", "--json").stdout.splitlines()[-1])["data"]
    assert {name.removeprefix("dvc.yaml::") for name in drawn} == {
        "NLL by step", "NLL by epoch", "NLL of held-out tokens by codebook",
        "data/plots/training.png", "data/plots/codebooks.png", "data/plots/frames.png",
    }  # fmt: skip
    assert all(drawn.values())


def test_the_smoke_run_finds_nothing_wrong_here_and_says_what_is(base: Base) -> None:
    project = base.project
    assert gpu.faults(project, "cpu", base.output) == []
    missed = gpu.faults(project, "cuda", base.output)
    assert any("otherwise than asked for: train: on cpu" in fault for fault in missed)
    assert any("did not take place on cuda" in fault for fault in missed)
    scores = project.folder / "metrics/nll.json"
    whole = scores.read_text()
    try:
        scores.write_text('{"nll": NaN}')
        assert gpu.faults(project, "cpu", base.output) == ["nll.json: nll is nan"]
    finally:
        scores.write_text(whole)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_training_and_sampling_again_give_the_same_bytes_even_where_ctrl_c_came_between(project: Project) -> None:
    outputs = [("train", "data/model"), ("train", "data/previews"), ("sample", "data/samples")]
    before = [project.digest(*output) for output in outputs]
    scores, runs = project.metrics(), len(project.runs())
    # Not committed: the run cache would hold a second training, and prefer it, whose report was never made.
    command = ("dvc", "repro", "-f", "-s", "--no-commit", "train", "sample", "score_nll", "score_audio")
    # The first validation is in a checkpoint by then, and nothing is written yet.
    stopped = project.interrupt(*command, after="train: step 6/6")
    assert stopped.returncode != 0
    assert re.search(r"exited with (130|-2)$", stopped.stdout, re.M)  # as the shell between tells it
    assert stopped.stdout.count(INTERRUPTED) == 1
    assert re.search(r"^train: stopped at step 6; the same command goes on from (there|step 3)$", stopped.stdout, re.M)
    assert "Traceback" not in stopped.stdout
    assert not (project.folder / "data/model").exists()
    assert [status for _, status in project.runs()[runs:]] == ["FAILED"]
    output = project.run(*command).stdout
    assert "train: step 3/6" not in output
    assert [status for _, status in project.runs()[runs:]] == ["RUNNING"]
    assert [project.digest(*output) for output in outputs] == before
    assert project.metrics() == scores
    project.reset()


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_published_model_is_sampled_and_scored_like_the_others(project: Project) -> None:
    """Its checkpoint holds the shipped codec and text encoder, so that the tokens and texts that are there serve it too.

    It lies in the repository, outside of git, so that the copy of the tree in which queued experiments run lacks it.
    """
    runs, name = len(project.runs()), "cache/musicgen"
    musicgen_checkpoint.save(project.folder / name, musicgen_checkpoint.build())
    changes = ["-S", "model.type=musicgen", "-S", f"model.musicgen.name={name}"]
    output = project.run("dvc", "exp", "run", "--temp", *changes, "-n", "published").stdout
    assert stages_run(output) == ["check", *LATER]
    assert "not trained here" in output
    assert project.runs()[runs:] == [("published", "FINISHED")]
    project.run("dvc", "exp", "apply", "published")
    assert {"nll", "caption_gain", "clap", "fad"} <= project.columns()
    assert (project.folder / "metrics/curves.csv").read_text().startswith("step,epoch,train_loss,val_loss,")
    page = (project.folder / "data/report/index.html").read_text()
    assert f"not here: {project.folder / name}" in page
    assert "could not find" not in project.run("dvc", "plots", "show").stdout
    project.reset()


def test_wrong_parameters_stop_before_anything_runs(project: Project) -> None:
    file = project.folder / "params.yaml"
    whole = file.read_text()
    try:
        file.write_text(whole.replace("\nmodel:\n", "\nmodel:\n  typ: b\n", 1))
        done = project.run("dvc", "repro", check=False)
    finally:
        file.write_text(whole)
    assert done.returncode != 0
    assert "model.typ: unknown parameter; did you mean model.type?" in done.stdout
    assert stages_run(done.stdout) == ["check"]
