"""Unfinished work in a folder of its own: resumed after a failure, by one process at a time."""

import contextlib
import os
import shutil
import socket
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from musicgen_lite.io.files import atomic_dir, read_json, write_json
from musicgen_lite.io.locks import is_locked, locked

HOLDER = "holder.json"
SILENT_WAIT_S = 1.0  # a shorter wait prints nothing
POLL_S = 0.2


def _lock(work: Path) -> FileLock:
    return FileLock(f"{work}.lock", blocking=False)


@contextlib.contextmanager
def resumable_dir(path: str | Path, work: str | Path) -> Iterator[Path]:
    """Like `atomic_dir`, but a process that fails or is killed leaves its directory to the next one.

    The directory is `work` until it is complete and replaces `path`: derive its name from everything that decides its
    contents. A second process that does the same work at the same time gets a directory of its own.
    """
    work = Path(work)
    lock = _lock(work)
    work.parent.mkdir(parents=True, exist_ok=True)
    try:
        lock.acquire()
    except Timeout:
        with atomic_dir(path) as part:
            yield part
        return
    try:
        work.mkdir(exist_ok=True)
        yield work
        with atomic_dir(path) as part:
            part.rmdir()
            shutil.move(work, part)
        Path(lock.lock_file).unlink()
    finally:
        lock.release()


@contextlib.contextmanager
def held(work: str | Path, name: str) -> Iterator[None]:
    """Lock the folder of unfinished work for this process; if another process has it, print which, and wait for it.

    name: of this process, for those who wait. After an error or a kill the folder stays, and the next process resumes.
    After success it is removed, unless others wait for it: the last of them removes it.
    """
    work = Path(work)
    work.parent.mkdir(parents=True, exist_ok=True)
    lock = _lock(work)
    with locked(work.with_name(f"{work.name}.{uuid.uuid4().hex[:8]}.waits")):
        _acquire(lock, work)
    try:
        work.mkdir(exist_ok=True)
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        write_json(work / HOLDER, {"pid": os.getpid(), "host": socket.gethostname(), "since": since, "name": name})
        yield
        if not _is_awaited(work):
            shutil.rmtree(work)
            Path(lock.lock_file).unlink()
    finally:
        lock.release()


def _acquire(lock: FileLock, work: Path) -> None:
    try:
        lock.acquire(timeout=SILENT_WAIT_S, blocking=True)
    except Timeout:
        print(f"{work}: {_holder(work)} does the same work; waiting for its result", file=sys.stderr, flush=True)
        lock.acquire(blocking=True, poll_interval=POLL_S)


def _holder(work: Path) -> str:
    """The process that holds the work, as far as it is known."""
    with contextlib.suppress(Exception):
        return "{name} (process {pid} on {host}, since {since})".format(**read_json(work / HOLDER))
    return "another process"


def _is_awaited(work: Path) -> bool:
    return any(is_locked(mark) for mark in work.parent.glob(f"{work.name}.*.waits"))


def abandoned(folder: str | Path, seconds: float) -> list[Path]:
    """Folders of unfinished work in `folder` that no process holds and nobody wrote to for `seconds`."""
    return [work for work in _works(folder) if time.time() - _newest(work) > seconds and not _is_taken(work)]


def _works(folder: str | Path) -> list[Path]:
    return sorted(path for path in Path(folder).glob("*") if path.is_dir())


def _newest(work: Path) -> float:
    return max(path.lstat().st_mtime for path in (work, *work.rglob("*")))


def _is_taken(work: Path) -> bool:
    return is_locked(Path(_lock(work).lock_file))


def discard(work: str | Path) -> bool:
    """Remove a folder of unfinished work with its lock; False where a process has taken it up since."""
    try:
        with _lock(Path(work)) as lock:
            shutil.rmtree(work)
            Path(lock.lock_file).unlink()
            return True
    except Timeout:
        return False
