"""MLflow's pages are served by two processes and open with the columns that matter."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from musicgen_lite import tracking
from musicgen_lite.errors import UserError
from musicgen_lite.params import TrackingParams
from musicgen_lite.tracking.ui import METRICS

HERE = TrackingParams(uri="", experiment="shown", required=True)
SCRIPT = (
    "import sys; from musicgen_lite import tracking; from musicgen_lite.params import TrackingParams\n"
    "tracking.ui(TrackingParams(uri='', experiment='shown', required=True), sys.argv[1])"
)


def test_without_a_run_there_is_nothing_to_show(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"mlflow\.db: no mlflow\.db yet; `dvc repro` logs the first run"):
        tracking.ui(HERE, tmp_path)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """MLflow on a database with one run, and the link that was printed."""
    tracking.begin(HERE, tmp_path, {"model": {"type": "a"}}, tmp_path / "run.json")
    environment = {**os.environ, "PYTHONPATH": str(Path(tracking.__file__).parent.parent.parent)}
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=environment, start_new_session=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        output = ""
        for line in process.stdout:
            output += line
            if "Uvicorn running" in line:
                break
        (link,) = re.findall(r"compare all runs: +(\S+)", output)
        yield process, link
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def answer(address: str) -> Any:
    with urllib.request.urlopen(address, timeout=60) as found:
        return json.load(found)


@pytest.mark.pipeline
def test_two_processes_serve_the_comparison_until_they_are_interrupted(
    server: tuple[subprocess.Popen[str], str],
) -> None:
    process, link = server
    workers = psutil.Process(process.pid).children(recursive=True)
    assert len(workers) == 1, "the command itself and one worker"
    address, experiment = re.match(r"(http://[^/]+)/#/experiments/(\d+)/runs\?", link).groups()  # type: ignore[union-attr]
    assert "compareRunsMode=TABLE" in link
    kept = answer(f"{address}/ajax-api/2.0/mlflow/experiments/get?experiment_id={experiment}")["experiment"]
    assert kept["name"] == "shown"
    (key,) = re.findall(r"viewStateShareKey=([\w-]+)", link)
    views = {tag["key"]: json.loads(tag["value"]) for tag in kept["tags"] if tag["key"].startswith("mlflow.sharedView")}
    assert set(views[f"mlflow.sharedViewState.{key}"]["selectedColumns"]) >= {f"metrics.`{name}`" for name in METRICS}
    process.send_signal(signal.SIGINT)
    process.wait(60)
    deadline = time.monotonic() + 30
    while workers[0].is_running() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not workers[0].is_running()
