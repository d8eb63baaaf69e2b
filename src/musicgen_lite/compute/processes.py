"""The engine in several processes of this machine: for work in plain Python, which threads do not make faster."""

import contextlib
import multiprocessing
import signal
from collections import deque
from collections.abc import Iterable, Iterator
from multiprocessing import resource_tracker
from multiprocessing.pool import AsyncResult
from typing import Any

from musicgen_lite.compute.work import Work

WINDOW = 4  # pieces for each process that are begun and not taken yet: memory does not grow with the corpus


class Processes:
    """Runs work in `count` processes that it starts; see `Engine`. Its work has no model."""

    here, device = False, "cpu"

    def __init__(self, count: int) -> None:
        self._count = count

    def map(self, work: Work[Any, Any, Any], pieces: Iterable[Any]) -> Iterator[Any]:
        """See `Engine.map`."""
        with _deaf_to_interrupts():
            started = multiprocessing.get_context("spawn").Pool(self._count)
        with started as pool:
            waiting = deque[AsyncResult[Any]]()
            for piece in pieces:
                waiting.append(pool.apply_async(_result, (work, piece)))
                if len(waiting) > WINDOW * self._count:
                    yield waiting.popleft().get()
            while waiting:
                yield waiting.popleft().get()


def _result(work: Work[Any, Any, Any], piece: Any) -> Any:
    return work.compute(work.read(piece))


@contextlib.contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Ctrl-C is for this process alone, which ends those that it starts within; until then it is held back here."""
    resource_tracker.ensure_running()  # starting it unblocks what was blocked
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
