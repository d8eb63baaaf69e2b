"""The runs of a project as MLflow's own client reads them, and an MLflow server of the tests' own."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from mlflow import MlflowClient

from tests.support.project import ENVIRONMENT, Project

EXPERIMENT = "musicgen-lite"


@dataclass(frozen=True)
class Run:
    """What a test compares of a run."""

    run_id: str
    name: str
    status: str
    params: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]

    @property
    def content(self) -> tuple[dict[str, str], dict[str, float]]:
        """What a replay gives back; system metrics are of the machine, not of the result."""
        return self.params, {name: value for name, value in self.metrics.items() if not name.startswith("system/")}


class Runs:
    """The active runs of a project, in its own database or on a server."""

    def __init__(self, project: Project, uri: str = "") -> None:
        self.client = MlflowClient(uri or f"sqlite:///{project.folder / 'mlflow.db'}")

    def all(self) -> dict[str, Run]:
        """By run id, oldest first."""
        experiment = self.client.get_experiment_by_name(EXPERIMENT)
        if experiment is None:
            return {}
        found = self.client.search_runs([experiment.experiment_id], order_by=["attributes.start_time"])
        return {
            run.info.run_id: Run(
                run.info.run_id, run.info.run_name, run.info.status, run.data.params, run.data.metrics, run.data.tags
            )
            for run in found
        }

    def new(self, before: dict[str, Run]) -> list[Run]:
        return [run for key, run in self.all().items() if key not in before]

    def curve(self, run: Run) -> list[tuple[int, float]]:
        """Validation loss by step."""
        history = self.client.get_metric_history(run.run_id, "val_loss")
        return sorted((point.step, round(point.value, 5)) for point in history)

    def artifacts(self, run: Run) -> dict[str, bytes]:
        """By path."""
        folder = Path(self.client.download_artifacts(run.run_id, ""))
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Server:
    """A light `mlflow server` on a free port of this machine, in a process group of its own."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.uri = f"http://127.0.0.1:{port}"
        words = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{folder / 'served.db'}"]
        words += ["--artifacts-destination", str(folder / "served"), "--host", "127.0.0.1", "--port", str(port)]
        light = {**ENVIRONMENT, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with (folder / "server.log").open("w") as log:
            self.process = subprocess.Popen(
                [*words, "--workers", "1"], env=light, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    def wait(self) -> None:
        """Until it answers; it takes a minute beside other load."""
        for _ in range(600):
            if self.process.poll() is not None:
                break
            try:
                urllib.request.urlopen(f"{self.uri}/health", timeout=5).close()
                return
            except OSError:
                time.sleep(0.5)
        raise AssertionError("the MLflow server did not start; see server.log")

    def kill(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
