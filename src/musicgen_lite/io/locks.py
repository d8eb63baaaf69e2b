"""Lock files as signs of life: the system frees one when its process ends, however it ends."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout


@contextlib.contextmanager
def locked(lock: Path) -> Iterator[None]:
    """Hold the lock file `lock`, and remove it in the end. OSError where no file can be made there."""
    lock.touch()  # FileLock takes some systems' refusal for another's lock, and waits for ever
    with FileLock(lock):
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def is_locked(lock: Path) -> bool:
    """Whether a living process holds a lock file; one that nobody holds is removed."""
    try:
        with FileLock(lock, blocking=False):
            lock.unlink(missing_ok=True)
            return False
    except Timeout:
        return True
