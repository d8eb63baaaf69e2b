"""The real project on a tiny setting, in a repository of its own."""

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.support.warm import warmed

ROOT = Path(__file__).parent.parent.parent
TREE = ("src", "stages", "dvc.yaml")  # what unfinished work is named by
TINY: dict[str, Any] = {
    "compute.threads": 1,
    # No whole number of frames, and a crop below the target: every stage rounds alike, and windows are scored.
    "data.seconds": 2.51, "data.prompt_seconds": 1.0,
    "data.synthetic.train": 24, "data.synthetic.validation": 6, "data.synthetic.test": 8,
    "model.a.d_model": 32, "model.a.layers": 1, "model.a.heads": 2,
    "model.b.d_model": 32, "model.b.layers": 1, "model.b.heads": 2,
    "train.steps": 6, "train.validations": 2, "train.batch_size": 4, "train.effective_batch_size": 8,
    "train.crop_seconds": 1.01, "train.preview_every": 1,
    "sample.prompts": 4, "sample.seconds": 1.01, "sample.candidates": 2, "sample.top_k": 50,
    "score.bootstrap": 100,
}  # fmt: skip
# Experiments must not carry the caller's own DVC or git settings along.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "GIT_"))} | {
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "DVC_NO_ANALYTICS": "1",
    "GIT_AUTHOR_NAME": "tests", "GIT_AUTHOR_EMAIL": "tests@localhost",
    "GIT_COMMITTER_NAME": "tests", "GIT_COMMITTER_EMAIL": "tests@localhost",
}  # fmt: skip


@dataclass(frozen=True)
class Project:
    """A checkout of this repository with small parameters."""

    folder: Path

    def run(
        self, *command: str, check: bool = True, env: Mapping[str, str] = ENVIRONMENT
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the project; its output, errors included, is in `stdout`. With no `env` of its own it starts warm."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=warmed(env) if env is ENVIRONMENT else env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-6000:]}")
        return done

    def interrupt(self, *command: str, after: str) -> subprocess.CompletedProcess[str]:
        """Run a command, and press Ctrl-C once a line begins with `after`: all that a terminal runs hears it."""
        process = subprocess.Popen(
            command, cwd=self.folder, env=ENVIRONMENT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            process_group=0, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )  # fmt: skip
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if line.startswith(after):
                os.killpg(process.pid, signal.SIGINT)
                break
        rest = process.communicate()[0]
        return subprocess.CompletedProcess(command, process.returncode, "".join([*said, rest]))

    def set(self, **values: Any) -> None:
        """Change parameters in params.yaml; `model__type` stands for model.type."""
        change(self.folder / "params.yaml", {name.replace("__", "."): value for name, value in values.items()})

    def runs(self) -> list[tuple[str, str]]:
        """Name and status of every run in the tracking database; none before it is there."""
        if not (self.folder / "mlflow.db").exists():
            return []
        with sqlite3.connect(self.folder / "mlflow.db") as database:
            return list(
                database.execute("SELECT name, status FROM runs WHERE lifecycle_stage = 'active' ORDER BY start_time")
            )

    def metrics(self) -> dict[str, dict[str, float]]:
        """The metrics that DVC shows, by the name of their file."""
        return {file.stem: json.loads(file.read_text()) for file in (self.folder / "metrics").glob("*.json")}

    def columns(self) -> Set[str]:
        """What `dvc exp show` prints, in whichever of the files it stands."""
        return {name for scores in self.metrics().values() for name in scores}

    def stages_of(self, *command: str) -> list[str]:
        """Names of the stages that a command runs, in order."""
        return stages_run(self.run(*command).stdout)

    def commit(self) -> None:
        self.run("git", "add", "-A")
        self.run("git", "commit", "-qm", "state")

    def reset(self) -> None:
        """Back to the commit, as after an experiment in the workspace."""
        self.run("git", "reset", "-q", "--hard")
        self.run("dvc", "checkout", "-q", "-f")

    def copy(self, folder: Path) -> "Project":
        """The same repository with its outputs and its DVC cache elsewhere, without its MLflow database."""
        shutil.copytree(self.folder, folder, symlinks=True, ignore=shutil.ignore_patterns("mlflow.db*", "mlartifacts"))
        return Project(folder)

    def digest(self, stage: str, output: str) -> str:
        """The MD5 that dvc.lock holds for one output of a stage."""
        lock = YAML(typ="safe").load((self.folder / "dvc.lock").read_text())
        return next(out["md5"] for out in lock["stages"][stage]["outs"] if out["path"] == output)


def change(path: Path, values: dict[str, Any]) -> None:
    """Set dotted parameters in a YAML file; an unknown one raises KeyError."""
    yaml = YAML()
    tree = yaml.load(path.read_text())
    for name, value in values.items():
        *sections, key = name.split(".")
        section = tree
        for part in sections:
            section = section[part]
        if key not in section:
            raise KeyError(name)
        section[key] = value
    with path.open("w") as file:
        yaml.dump(tree, file)


def create(folder: Path) -> Project:
    """Copy what git knows of this repository, set the tiny parameters, and commit."""
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, text=True, capture_output=True, check=True,
    ).stdout.split("\0")  # fmt: skip
    for name in names:
        source = ROOT / name
        if (
            name
            and source.is_file()
            and name != "dvc.lock"
            and not name.startswith(("metrics/audio", "metrics/nll", "docs/"))
        ):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, folder / name)
    change(folder / "params.yaml", TINY)
    project = Project(folder)
    for command in (("git", "init", "-q", "-b", "main"), ("git", "add", "-A"), ("git", "commit", "-qm", "start")):
        project.run(*command)
    return project


def stages_run(output: str) -> list[str]:
    """Names of the stages that DVC ran, by what it printed."""
    return re.findall(r"Running stage '(\w+)'", output)
