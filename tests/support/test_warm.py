"""Warm commands end as their callers do, and are not used where the environment says something else to what is imported."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.project import ENVIRONMENT
from tests.support.warm import warmed

pytestmark = pytest.mark.slow
PROGRAM = "import os, sys, time; print(os.getppid(), 'torch' in sys.modules, *sys.argv[1:], flush=True); time.sleep(float(sys.argv[1])); sys.exit(7)"


def start(folder: Path, *words: str, **environment: str) -> "subprocess.Popen[str]":
    (folder / "program.py").write_text(PROGRAM)
    return subprocess.Popen(
        ["python", "-m", "program", *words], cwd=folder, env=warmed(ENVIRONMENT) | environment, text=True, stdout=subprocess.PIPE
    )  # fmt: skip


def test_arguments_output_and_exit_status_are_those_of_the_command(tmp_path: Path) -> None:
    process = start(tmp_path, "0", "two words")
    assert process.communicate()[0].split()[1:] == ["True", "0", "two", "words"]
    assert process.returncode == 7
    cold = start(tmp_path, "0", HF_HUB_OFFLINE="other")
    assert cold.communicate()[0].split() == [str(os.getpid()), "False", "0"]
    assert cold.returncode == 7


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_command_stops_what_it_had_started(tmp_path: Path, number: signal.Signals) -> None:
    process = start(tmp_path, "600")
    assert process.stdout is not None
    server = int(process.stdout.readline().split()[0])
    [running] = Path(f"/proc/{server}/task/{server}/children").read_text().split()
    process.send_signal(number)
    assert process.wait() == -number
    while Path(f"/proc/{running}").exists():
        time.sleep(0.05)
