"""Music for the people at the page: while it is made, stoppable, and in the words of the command line where it cannot be."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from musicgen_lite.app.form import Form
from musicgen_lite.app.models import Shelf
from musicgen_lite.device import set_threads
from musicgen_lite.errors import UserError
from musicgen_lite.generator import Music
from musicgen_lite.streaming import Stream

FIRST_S = 1.5  # of the first step: a browser asks for more a second after it has found something


@dataclass(frozen=True)
class Step:
    """What is new: samples `[T]` at `rate` Hz of candidate 1, the share of it that is made, and at the end all music."""

    samples: np.ndarray
    rate: int
    share: float
    music: Music | None = None


class Studio:
    """Makes music with `threads` of the CPU. A session, named by any text, makes one piece at a time."""

    def __init__(self, shelf: Shelf, threads: int) -> None:
        self.shelf, self._threads = shelf, threads
        self._running: dict[str, Stream[Music]] = {}
        self._lock = threading.Lock()

    def make(self, form: Form, session: str) -> Iterator[Step]:
        """The steps of a piece; they end without music where the session was stopped. UserError for a form that cannot be."""
        request = form.request()
        generator = self.shelf.get(form.model)
        set_threads(self._threads)  # torch has a number for each thread
        with _plain_names(form):
            stream = generator.stream(
                **vars(request), style=form.style, continued=form.continued, candidates=form.number,
                sampling=form.sampling(generator),
            )  # fmt: skip
        with self._lock:
            self._running[session] = stream
        try:
            made = 0
            for samples in _steps(stream):
                made += len(samples)
                yield Step(samples, stream.rate, made / stream.samples)
            if stream.result is not None:
                yield Step(np.zeros(0, np.float32), stream.rate, 1.0, stream.result)
        finally:
            stream.close()
            with self._lock:
                if self._running.get(session) is stream:
                    del self._running[session]

    def stop(self, session: str) -> None:
        """Stop what the session makes; its core is free at the next step."""
        with self._lock:
            stream = self._running.get(session)
        if stream is not None:
            stream.close()


def _steps(stream: Stream[Music]) -> Iterator[np.ndarray]:
    """The samples `[T]` of a stream, of which the first come together."""
    gathered: list[np.ndarray] = []
    left = min(stream.samples, round(FIRST_S * stream.rate))
    for samples in stream:
        gathered.append(samples)
        left -= len(samples)
        if left <= 0:
            yield np.concatenate(gathered)
            gathered = []


class _plain_names:
    """Errors name an uploaded file as the person named it, without the folder that it was put into."""

    def __init__(self, form: Form) -> None:
        self._paths = [path for path in (form.style, form.continued) if path]

    def __enter__(self) -> None:
        return None

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, UserError):
            message = str(error)
            for path in self._paths:
                message = message.replace(path, Path(path).name)
            raise UserError(message) from error
