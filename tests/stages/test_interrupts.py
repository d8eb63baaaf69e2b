"""Ctrl-C is one plain line and exit code 130 from a stage's first import on, and nothing half-written stays."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from musicgen_lite.io.clips import ClipStore
from stages import INTERRUPTED
from tests.support.project import ENVIRONMENT, ROOT, TINY, TREE, change

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in TREE:
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    change(tmp_path / "params.yaml", TINY | {"compute.threads": 2, "data.synthetic.train": 4})
    return tmp_path


def start(folder: Path, *options: str) -> subprocess.Popen[str]:
    """A stage as a terminal starts it: Ctrl-C reaches it and what it starts, whatever the tests' own shell ignores."""
    return subprocess.Popen(
        [sys.executable, *options], cwd=folder, env=ENVIRONMENT | {"PYTHONPATH": str(ROOT)}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, process_group=0,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip


def press_ctrl_c(process: subprocess.Popen[str], when: Callable[[], bool]) -> list[str]:
    """Interrupt a process and its children; the lines that it prints from then on."""
    while not when():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    return process.communicate()[0].splitlines()


def test_during_imports(folder: Path) -> None:
    process = start(folder, "-X", "importtime", "-m", "stages.train")
    said = press_ctrl_c(process, lambda: process.stdout is not None and process.stdout.readline().endswith(" numpy\n"))
    assert [line for line in said if not line.startswith("import time:")] == [INTERRUPTED]
    assert process.returncode == 130


def test_while_processes_compose(folder: Path) -> None:
    process = start(folder, "-m", "stages.download")

    def workers_import() -> bool:
        children = psutil.Process(process.pid).children()
        return any("numpy" in place.path for child in children for place in child.memory_maps())

    said = press_ctrl_c(process, workers_import)
    assert said == ["compose train: 4 clips", INTERRUPTED]
    assert process.returncode == 130
    assert not list(folder.glob("data/*"))
    again = start(folder, "-m", "stages.download")
    assert "'train': 4" in again.communicate()[0]
    assert len(ClipStore(folder / "data/clips")) == 4 + 6 + 8
