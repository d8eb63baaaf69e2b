"""The model of a real run in MLflow's hands: registered, loaded, generated with, exported and served."""

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from tests.support.mlflow_runs import Runs
from tests.support.project import ENVIRONMENT, Project

pytestmark = [pytest.mark.pipeline, pytest.mark.timeout(1800)]

PROMPT, URI = "A fast techno beat with a synth lead.", "models:/musicgen-lite@latest-a"
REQUEST = {"prompt": PROMPT, "seconds": 0.5, "seed": 3, "guidance": 1.5}


@pytest.fixture(scope="module")
def runs(project: Project) -> Runs:
    """The project's run, replayed from files into a database of its own."""
    assert project.stages_of("dvc", "repro") == ["check", "track"]
    return Runs(project)


@pytest.fixture(scope="module")
def sound(project: Project, runs: Runs) -> bytes:
    """What the command line writes for REQUEST."""
    options = [f"--{name}={value}" for name, value in REQUEST.items() if name != "prompt"]
    project.run("musicgen-lite", "generate", PROMPT, *options, "--model", URI, "--threads", "1", "-o", "sound.wav")
    return (project.folder / "sound.wav").read_bytes()


def versions(runs: Runs) -> list[tuple[str, str]]:
    """Number and type of every registered version."""
    found = runs.client.search_model_versions("name = 'musicgen-lite'")
    return [(str(one.version), one.tags["model.type"]) for one in found]


def test_a_run_has_one_registered_model_of_its_own_however_often_it_is_written(project: Project, runs: Runs) -> None:
    assert versions(runs) == [("1", "a")]
    [run] = runs.all().values()
    [model] = runs.client.search_logged_models([runs.client.get_run(run.run_id).info.experiment_id])
    assert model.source_run_id == run.run_id
    assert {one.key for one in model.metrics} >= {"nll", "clap", "fad"}
    runs.client.delete_run(run.run_id)
    assert project.stages_of("dvc", "repro") == ["check", "track"]
    assert project.stages_of("dvc", "repro") == ["check", "track"]
    assert versions(runs) == [("1", "a")]
    [again] = runs.all().values()
    assert [one.model_id for one in runs.client.get_run(again.run_id).outputs.model_outputs] == [model.model_id]
    stored = list((project.folder / "mlartifacts").rglob("*.safetensors"))
    assert [path.read_bytes() for path in stored] == [(project.folder / "data/model/model.safetensors").read_bytes()]


def test_mlflow_makes_the_sound_that_the_command_makes(project: Project, runs: Runs, sound: bytes) -> None:
    script = (
        "import sys, mlflow, pandas as pd\n"
        f"model = mlflow.pyfunc.load_model({URI!r})\n"
        f"open('loaded.wav', 'wb').write(model.predict(pd.DataFrame([{REQUEST!r}]))['wav'][0])\n"
    )
    project.run(sys.executable, "-c", script, env=serving(project))
    assert (project.folder / "loaded.wav").read_bytes() == sound


@pytest.mark.long
def test_the_model_of_a_run_is_exported_with_its_metrics(project: Project, runs: Runs, sound: bytes) -> None:
    [run] = runs.all().values()
    for name, folder in ((URI, "by-alias"), ("data/model/model.safetensors", "by-file")):
        project.run("musicgen-lite", "export", name, folder)
        card = ModelCard.load(project.folder / folder / "README.md")
        values = {one.metric_type: one.metric_value for one in card.data.eval_results}
        assert values["nll"] == pytest.approx(run.metrics["nll"])
        assert card.data.license == "mit"
        assert "95 % intervals" in card.text
    options = [f"--{name}={value}" for name, value in REQUEST.items() if name != "prompt"]
    command = ("musicgen-lite", "generate", PROMPT, *options, "--threads", "1", "-o", "exported.wav", "--model")
    for name in ("by-alias", run.name):
        project.run(*command, name)
        assert (project.folder / "exported.wav").read_bytes() == sound


def serving(project: Project) -> dict[str, str]:
    uri = f"sqlite:///{project.folder / 'mlflow.db'}"
    return {**ENVIRONMENT, "MLFLOW_TRACKING_URI": uri, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}


@pytest.fixture
def served(project: Project, runs: Runs) -> Iterator[str]:
    """The address of `mlflow models serve`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", URI, "--env-manager", "local"]
    with (project.folder / "serve.log").open("w") as log:
        server = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"],
            cwd=project.folder, env=serving(project), stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def ask(address: str, path: str, content: Any = None) -> Any:
    data = None if content is None else json.dumps(content).encode()
    request = urllib.request.Request(f"{address}/{path}", data, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=600) as answer:
        return answer.read()


def wait(address: str, log: Path) -> None:
    for _ in range(1200):
        try:
            ask(address, "ping")
            return
        except OSError:
            time.sleep(0.5)
    raise AssertionError(log.read_text())


@pytest.mark.long
def test_a_served_model_answers_with_the_same_sound_and_names_what_it_cannot_make(
    project: Project, served: str, sound: bytes
) -> None:
    wait(served, project.folder / "serve.log")
    answer = json.loads(ask(served, "invocations", {"dataframe_records": [REQUEST, {**REQUEST, "seed": 4}]}))
    first, second = (base64.b64decode(row["wav"]) for row in answer["predictions"])
    assert first == sound
    assert (len(second), second == sound) == (len(sound), False)
    # Only the prompt, and one candidate: 10 s with the defaults of the command line.
    answer = json.loads(
        ask(served, "invocations", {"dataframe_records": [{"prompt": PROMPT}], "params": {"candidates": 1}})
    )
    assert len(base64.b64decode(answer["predictions"][0]["wav"])) == 44 + 2 * 160_000
    for wrong, said in (
        ({"prompt": " "}, "prompt: it is empty"),
        ({**REQUEST, "seconds": 1e4}, "seconds: found 10000"),
    ):
        with pytest.raises(urllib.error.HTTPError) as error:
            ask(served, "invocations", {"dataframe_records": [wrong]})
        assert error.value.code == 400
        assert said in error.value.read().decode()
