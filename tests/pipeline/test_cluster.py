"""The pipeline beyond one process and one machine: training by torchrun, runs in PostgreSQL, everything else on S3."""

import os
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import soundfile

from musicgen_lite.params import TrackingParams
from musicgen_lite.tracking.connection import connect, locate
from tests.support.clip_folders import RATE, make, tone
from tests.support.project import ENVIRONMENT, Project
from tests.support.stores import BUCKET, S3, Postgres
from tests.support.warm import warmed

pytestmark = [pytest.mark.pipeline, pytest.mark.long]

RESTORED = ["check", "track"]  # these two always run


@pytest.fixture
def environment(postgres: Postgres, s3: S3) -> dict[str, str]:
    stores = {name: value for name, value in os.environ.items() if name.startswith(("AWS_", "PG"))}
    return {**warmed(ENVIRONMENT), **stores}


def track_in(project: Project, uri: str) -> TrackingParams:
    """Have the project's runs in a database, with artifacts on S3."""
    artifacts = f"s3://{BUCKET}/artifacts"
    project.set(tracking__uri=uri, tracking__artifacts=artifacts)
    return TrackingParams(uri=uri, experiment="musicgen-lite", required=True, artifacts=artifacts)


def runs(place: TrackingParams, root: Path) -> list[Any]:
    connection = connect(locate(place, root))
    return list(connection.client.search_runs([connection.experiment_id]))


def test_two_processes_make_one_run_which_a_clone_finds_with_its_results(
    project: Project,
    environment: Mapping[str, str],
    postgres: Postgres,
    s3: S3,
    tmp_path: Path,
) -> None:
    place = track_in(project, postgres.uri)
    project.commit()
    done = project.run(
        "dvc", "exp", "run", "-n", "two", "-S", "train.devices=2", "-S", "train.batch_size=4", env=environment
    )
    assert "4 clips per micro-batch, 2 processes" in done.stdout
    (run,) = runs(place, tmp_path)
    assert (run.info.run_name, run.info.status, run.data.params["train.devices"]) == ("two", "FINISHED", "2")
    assert len([key for key in s3.objects("artifacts/") if key.endswith("listen.html")]) == 1
    assert not (project.folder / "mlflow.db").exists()
    project.run("dvc", "remote", "add", "-d", "store", f"s3://{BUCKET}/dvc")
    project.commit()
    assert "results of stages" in project.run("musicgen-lite", "push", env=environment).stdout
    assert s3.objects("dvc/files/md5/")
    clone = Project(tmp_path / "clone")
    project.run("git", "clone", "-q", str(project.folder), str(clone.folder))
    clone.run("musicgen-lite", "pull", env=environment)
    assert (clone.folder / "data/report/index.html").exists()
    said = clone.run("dvc", "repro", env=environment).stdout
    assert [line for line in said.splitlines() if line.startswith("Running stage")] == [
        f"Running stage '{stage}':" for stage in RESTORED
    ]
    assert [one.info.run_id for one in runs(place, tmp_path)] == [run.info.run_id]


def test_torchrun_trains_on_two_machines_what_dvc_then_takes(project: Project, tmp_path: Path) -> None:
    """The machines are processes of this one that share the repository; the model is that of two processes of one machine."""
    project.set(train__devices=1, train__num_nodes=2, train__batch_size=4, tracking__uri="", tracking__artifacts="")
    project.run("dvc", "repro", "tokenize", "embed", "check")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    wrong = project.run("torchrun", "--nproc-per-node=1", "--master-port", str(port), "-m", "stages.train", check=False)
    assert wrong.returncode != 0
    assert "error: train.devices (1) and train.num_nodes (2): " in wrong.stdout
    machines = [
        subprocess.Popen(
            ["torchrun", "--nnodes=2", f"--node-rank={rank}", "--nproc-per-node=1", "--master-addr=127.0.0.1",
             f"--master-port={port}", "-m", "stages.train"],
            cwd=project.folder, env=ENVIRONMENT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        for rank in range(2)
    ]  # fmt: skip
    said = [machine.communicate(timeout=300)[0] for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0], said
    assert "4 clips per micro-batch, 2 processes" in said[0]
    assert "best validation loss" in said[0]
    assert "best validation loss" not in said[1]
    assert [status for _, status in project.runs()] == ["RUNNING"]
    project.run("dvc", "commit", "-f", "train")
    # Its file says on what the model was trained; the samples are those of `two`, so that their scores are there.
    assert project.stages_of("dvc", "repro") == ["check", "sample", "score_nll", "report", "track"]
    assert [status for _, status in project.runs()] == ["FINISHED"]


def test_a_folder_on_s3_becomes_clips(
    project: Project,
    environment: Mapping[str, str],
    s3: S3,
    tmp_path: Path,
) -> None:
    names = [f"{number}.wav" for number in range(6)]
    for number, name in enumerate(names):
        soundfile.write(tmp_path / name, tone(6, RATE, hz=300 + 50 * number), RATE)
    make(tmp_path, [f"{name},A tone." for name in names])
    for file in tmp_path.iterdir():
        s3.client().upload_file(str(file), BUCKET, f"songs/{file.name}")
    project.set(
        train__num_nodes=1, data__source="folder", data__folder__path=f"s3://{BUCKET}/songs", data__min_available=6
    )
    said = project.run("dvc", "repro", "download", env=environment).stdout
    assert "clips: {'train': 6, 'validation': 2, 'test': 4}, rejected: 0" in said
    again = project.run("dvc", "repro", "download", env=environment).stdout
    assert "Running stage 'download'" not in again
