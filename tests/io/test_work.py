"""Unfinished work is kept, and belongs to one process at a time; who waits for it has what came of it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from musicgen_lite.io.work import abandoned, discard, held, resumable_dir

# A process that does the work in the folder that it is given, where it is not done; each line of input lets it go on.
WORKER = """
import sys
from pathlib import Path
from musicgen_lite.io.work import held

with held(sys.argv[1], f"worker {sys.argv[2]}"):
    result = Path(sys.argv[1], "result")
    print("found" if result.exists() else "working", flush=True)
    if not result.exists():
        input()
        result.touch()
"""


def worker(work: Path, name: str) -> subprocess.Popen[str]:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", WORKER, work, name], text=True, **pipes)  # type: ignore[call-overload]


def said(process: subprocess.Popen[str], stream: str = "stdout") -> str:
    return getattr(process, stream).readline()


def test_work_is_kept_until_it_is_whole_and_moved(tmp_path: Path) -> None:
    out, work = tmp_path / "out", tmp_path / "checkpoints" / "0123"
    with pytest.raises(RuntimeError), resumable_dir(out, work) as folder:
        (folder / "first").touch()
        raise RuntimeError
    assert not out.exists()
    with resumable_dir(out, tmp_path / "checkpoints" / "4567") as folder:
        assert not any(folder.iterdir())  # other work
    with resumable_dir(out, work) as folder:
        assert os.listdir(folder) == ["first"]
        (folder / "second").touch()
    assert sorted(os.listdir(out)) == ["first", "second"]
    assert not any((tmp_path / "checkpoints").iterdir())
    assert sorted(os.listdir(tmp_path)) == ["checkpoints", "out"]


def test_two_that_do_the_same_work_at_once_do_not_meet(tmp_path: Path) -> None:
    work = tmp_path / "checkpoints" / "0123"
    with resumable_dir(tmp_path / "a", work) as first:
        (first / "first").touch()
        with resumable_dir(tmp_path / "b", work) as second:
            assert not any(second.iterdir())
            (second / "second").touch()
        assert os.listdir(first) == ["first"]
    assert (os.listdir(tmp_path / "a"), os.listdir(tmp_path / "b")) == (["first"], ["second"])
    assert not any((tmp_path / "checkpoints").iterdir())


def test_unfinished_work_is_abandoned_once_it_is_old_and_no_process_holds_it(tmp_path: Path) -> None:
    works = [tmp_path / "checkpoints" / name for name in ("held", "old", "young")]
    for work in works:
        work.mkdir(parents=True)
        (work / "last.ckpt").touch()
        for path in (work, work / "last.ckpt") if work.name != "young" else (work,):
            os.utime(path, (0, 0))
    assert abandoned(tmp_path / "nothing", 0) == []
    with pytest.raises(RuntimeError), held(works[0], "test"):
        assert abandoned(tmp_path / "checkpoints", 3600) == [works[1]]
        assert not discard(works[0])
        assert works[0].exists()
        raise RuntimeError
    assert discard(works[0])
    assert abandoned(tmp_path / "checkpoints", 3600) == [works[1]]
    assert sorted(path.name for path in works[0].parent.iterdir()) == ["old", "young"]


@pytest.mark.slow
def test_who_waits_is_told_for_whom_and_has_the_result(tmp_path: Path) -> None:
    work = tmp_path / "checkpoints" / "work"
    first = worker(work, "a")
    assert said(first) == "working\n"
    others = [worker(work, "b"), worker(work, "c")]
    for other in others:
        told = said(other, "stderr")
        assert f"{work}: worker a (process {first.pid} on " in told
        assert told.endswith("does the same work; waiting for its result\n")
    assert first.communicate("go on\n")[1] == ""
    assert [other.communicate()[0] for other in others] == ["found\n", "found\n"]
    assert {process.returncode for process in (first, *others)} == {0}
    # The last of them leaves nothing, so that the work begins anew for who comes later.
    assert not list(work.parent.iterdir())


@pytest.mark.slow
def test_the_work_of_a_killed_process_passes_on_and_a_killed_waiter_is_forgotten(tmp_path: Path) -> None:
    work = tmp_path / "checkpoints" / "work"
    first = worker(work, "a")
    assert said(first) == "working\n"
    (work / "last.ckpt").touch()
    second, third = worker(work, "b"), worker(work, "c")
    assert "worker a" in said(second, "stderr")
    assert "worker a" in said(third, "stderr")
    third.send_signal(signal.SIGKILL)
    third.communicate()
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert said(second) == "working\n"
    assert (work / "last.ckpt").exists()
    second.communicate("go on\n")
    assert second.returncode == 0
    assert not list(work.parent.iterdir())


def test_work_that_failed_stays(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), held(tmp_path / "work", "test"):
        (tmp_path / "work" / "last.ckpt").touch()
        raise RuntimeError
    with held(tmp_path / "work", "test"):
        assert (tmp_path / "work" / "last.ckpt").exists()
    assert not any(tmp_path.iterdir())
