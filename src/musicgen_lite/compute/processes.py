"""The engine in several processes of this machine: for work in plain Python, which threads do not make faster."""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import resource_tracker
from typing import Any

from musicgen_lite.compute.work import Work
from musicgen_lite.errors import UserError

WINDOW = 4  # pieces for each process that are begun and not taken yet: memory does not grow with the corpus
ATTEMPTS = 4  # times that processes may be lost before another result comes


class Processes:
    """Runs work in `count` processes that it starts; see `Engine`. Its work has no model."""

    here, device = False, "cpu"

    def __init__(self, count: int) -> None:
        self._count = count

    def map(self, work: Work[Any, Any, Any], pieces: Iterable[Any]) -> Iterator[Any]:
        """See `Engine.map`. Where a process is lost, such as one that is killed for its memory, others begin anew."""
        coming, begun, lost = iter(pieces), deque[Any](), 0
        while True:
            try:
                for result in self._results(work, coming, begun):
                    lost = 0
                    yield result
                return
            except BrokenProcessPool:
                lost += 1
                if lost == ATTEMPTS:
                    raise UserError(
                        f"{work.name(begun[0])}: processes were lost {ATTEMPTS} times on the way to it, killed from outside; is there "
                        "too little memory? Take fewer (compute.threads), and run the same command again"
                    ) from None
                print("lost a process; what it had is done again", file=sys.stderr, flush=True)

    def _results(self, work: Work[Any, Any, Any], coming: Iterator[Any], begun: deque[Any]) -> Iterator[Any]:
        """The results of what is `begun` and not taken yet, and of what is `coming`. BrokenProcessPool for a lost process."""
        started = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(self._count, started, initializer=_end_with_starter)
        results = deque[Future[Any]]()

        def begin(piece: Any) -> None:
            with _deaf_to_interrupts():  # the first ones start processes
                results.append(pool.submit(_result, work, piece))

        try:
            for piece in begun:
                begin(piece)
            for piece in coming:
                begun.append(piece)
                begin(piece)
                if len(begun) > WINDOW * self._count:
                    yield _taken(begun, results)
            while begun:
                yield _taken(begun, results)
        finally:
            pool.shutdown(cancel_futures=True)


def _taken(begun: deque[Any], results: deque[Future[Any]]) -> Any:
    result = results.popleft().result()
    begun.popleft()
    return result


def _result(work: Work[Any, Any, Any], piece: Any) -> Any:
    return work.compute(work.read(piece))


def _end_with_starter() -> None:
    """Let this process end with the one that started it: a killed one tells nobody."""
    starter = multiprocessing.parent_process()
    assert starter is not None

    def wait() -> None:
        starter.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


@contextlib.contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Ctrl-C is for this process alone, which ends those that it starts within; until then it is held back here."""
    resource_tracker.ensure_running()  # starting it unblocks what was blocked
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
