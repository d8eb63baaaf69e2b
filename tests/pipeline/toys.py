"""A DVC project in a temporary folder, run by the real `dvc`, and its rows read by the real MLflow."""

import os
import resource
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

HERE = Path(__file__).parent
SOURCE = HERE.parent.parent / "src"
BIN = Path(sys.executable).parent
ENVIRONMENT = {
    **os.environ,
    "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
    "PYTHONPATH": str(SOURCE),
    "DVC_NO_ANALYTICS": "1",
    "OMP_NUM_THREADS": "1",
    "GIT_AUTHOR_NAME": "toy",
    "GIT_AUTHOR_EMAIL": "toy@example.org",
    "GIT_COMMITTER_NAME": "toy",
    "GIT_COMMITTER_EMAIL": "toy@example.org",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


@dataclass(frozen=True)
class Done:
    """What a command printed, its exit code, and the CPU seconds of it and its children."""

    code: int
    text: str
    cpu: float


def command(folder: Path, *words: str, **environment: str) -> Done:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        words,
        cwd=folder,
        env={**ENVIRONMENT, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Done(done.returncode, done.stdout, cpu)


@dataclass(frozen=True)
class Row:
    """What a test compares of a row."""

    run_id: str
    name: str
    status: str
    params: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]

    @property
    def content(self) -> tuple[dict[str, str], dict[str, float]]:
        return self.params, self.metrics


class Toy:
    """The toy project in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def create(cls, folder: Path, remote: Path) -> "Toy":
        shutil.copytree(HERE / "toy", folder, ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "pipeline.yaml").rename(folder / "dvc.yaml")
        toy = cls(folder)
        for words in (
            "git init -q -b main",
            "git config user.name toy",
            "git config user.email toy@example.org",
            "dvc init -q",
            "dvc config core.autostage true",
            f"dvc remote add -q -d store {remote}",
        ):
            toy.must(*words.split())
        toy.commit()
        return toy

    def must(self, *words: str, **environment: str) -> Done:
        done = command(self.folder, *words, **environment)
        assert done.code == 0, f"{' '.join(words)}: exit code {done.code}\n{done.text}"
        return done

    def fails(self, *words: str, **environment: str) -> Done:
        done = command(self.folder, *words, **environment)
        assert done.code != 0, f"{' '.join(words)}: exit code 0\n{done.text}"
        return done

    def commit(self) -> None:
        self.must("git", "add", "--all")
        self.must("git", "commit", "-q", "-m", "state")

    def reset(self) -> None:
        """Back to the commit, as after an experiment that failed in the workspace."""
        self.must("git", "reset", "-q", "--hard")
        self.must("dvc", "checkout", "-q")
        self.ran()

    def ran(self) -> list[str]:
        """The stages that ran since the last call, sorted."""
        journal = self.folder / "journal.txt"
        lines = journal.read_text().split("\n")[:-1] if journal.exists() else []
        journal.unlink(missing_ok=True)
        return sorted(lines)

    def client(self, uri: str = "") -> MlflowClient:
        return MlflowClient(uri or f"sqlite:///{self.folder / 'mlflow.db'}")

    def rows(self, uri: str = "") -> dict[str, Row]:
        """The active rows by run id, oldest first."""
        client = self.client(uri)
        experiment = client.get_experiment_by_name("toy")
        if experiment is None:
            return {}
        runs = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time"])
        return {
            run.info.run_id: Row(
                run.info.run_id, run.info.run_name, run.info.status, run.data.params, run.data.metrics, run.data.tags
            )
            for run in runs
        }

    def new_rows(self, before: dict[str, Row], uri: str = "") -> list[Row]:
        return [row for key, row in self.rows(uri).items() if key not in before]

    def curve(self, row: Row, uri: str = "") -> list[tuple[int, float]]:
        history = self.client(uri).get_metric_history(row.run_id, "val_loss")
        return sorted((point.step, round(point.value, 6)) for point in history)

    def artifacts(self, row: Row, uri: str = "") -> dict[str, bytes]:
        """The row's artifacts by path."""
        folder = Path(self.client(uri).download_artifacts(row.run_id, ""))
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
        light: dict[str, Any] = {**ENVIRONMENT, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with (folder / "server.log").open("w") as log:
            self.process = subprocess.Popen(
                [*words, "--workers", "1"], env=light, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    def wait(self, seconds: float = 300.0) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                urllib.request.urlopen(f"{self.uri}/health", timeout=5).close()
                return
            except OSError:
                time.sleep(0.5)
        raise AssertionError("the MLflow server did not start; see server.log")

    @property
    def group(self) -> int:
        return self.process.pid
