"""A stage ends with the DVC that started it, however the shell between them behaves; one that a person started does not."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from stages.runtime import ORPHANED
from tests.support.project import ENVIRONMENT, ROOT

pytestmark = pytest.mark.slow

STAGE = """
import os, time
from pathlib import Path
from stages.runtime import run

def main(params):
    Path("started").touch()
    while not Path("go-on").exists():
        time.sleep(0.1)
    print("done")

if __name__ == "__main__":
    if "LATE" in os.environ:  # imports, during which the starter ends
        parent = os.getppid()
        Path("started").touch()
        while os.getppid() == parent:
            time.sleep(0.1)
    run(main)
"""
# Starts a command through a shell and waits for it, as DVC does.
STARTER = "import subprocess, sys; subprocess.run(['/bin/sh', '-c', sys.argv[1]])"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    (tmp_path / "waits.py").write_text(STAGE)
    return tmp_path


def wait(until: Callable[[], bool]) -> None:
    while not until():
        time.sleep(0.05)


def stage_after_its_starter_was_killed(folder: Path, shell: str, **environment: str) -> psutil.Process:
    """A stage whose starter is gone, as its log `log` in the folder tells on."""
    path = os.pathsep.join([str(ROOT), str(folder)])
    with (folder / "log").open("w") as log:
        starter = subprocess.Popen(
            [sys.executable, "-c", STARTER, shell], cwd=folder, env=ENVIRONMENT | {"PYTHONPATH": path} | environment,
            stdout=log, stderr=log,
        )  # fmt: skip
    wait((folder / "started").exists)
    below = psutil.Process(starter.pid).children(recursive=True)
    (stage,) = (process for process in below if process.cmdline()[1:] == ["-m", "waits"])
    starter.kill()
    starter.wait()
    return stage


@pytest.mark.parametrize("shell", ["exec python -m waits", "python -m waits; true"])
def test_a_stage_whose_dvc_is_gone_ends(folder: Path, shell: str) -> None:
    stage = stage_after_its_starter_was_killed(folder, shell, DVC_STAGE="waits")
    wait(lambda: not stage.is_running())
    assert (folder / "log").read_text() == f"{ORPHANED}\n"


def test_a_stage_whose_dvc_went_while_it_imported_ends(folder: Path) -> None:
    stage = stage_after_its_starter_was_killed(folder, "exec python -m waits", DVC_STAGE="waits", LATE="1")
    wait(lambda: not stage.is_running())
    assert (folder / "log").read_text() == f"{ORPHANED}\n"


def test_a_stage_that_was_started_by_hand_goes_on_without_its_shell(folder: Path) -> None:
    stage = stage_after_its_starter_was_killed(folder, "exec python -m waits")
    time.sleep(3)  # it would have ended by then
    assert stage.is_running()
    (folder / "go-on").touch()
    wait(lambda: not stage.is_running())
    assert (folder / "log").read_text() == "done\n"
