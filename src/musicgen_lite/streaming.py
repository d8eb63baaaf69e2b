"""Music that is heard while it is made: codes are taken from the decoding loop as they are drawn, and decoded in parts.

The first candidate streams, and the others are made after it. Its codes come frame by frame from a thread, and a part of them becomes audio once the codec's context
behind it is there too. Each part is decoded with everything before it, since the codec's recurrent layer sees the whole: what is
yielded differs from the whole decoded at once by rounding alone, so that nothing clicks where two parts meet. Parts grow with
what is already there, which bounds the work to a few times that of decoding once. At the end the whole is decoded at once, so that
the result is that of `generate` to the last bit.
"""

import bisect
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from queue import SimpleQueue
from threading import Event
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from musicgen_lite.codec.base import Codec
from musicgen_lite.generation import Sampling, generate_long
from musicgen_lite.generation.decode import Decoder
from musicgen_lite.models import Conditions, LanguageModel
from musicgen_lite.models.core.base import DecodingState

PART_S = 0.5  # the least length of a part
GROWTH = 0.25  # the length of a part as a share of what comes before it, where that is more
ROWS = 64

Result = TypeVar("Result")
Codes = SimpleQueue[Tensor | None]


@dataclass(frozen=True)
class Task:
    """What a model is to make: a row of `conditions` and a seed for each candidate.

    frames: of each candidate, those of `prefix_codes` `[1, N_q, T]` included, which are the first of all; samples: how many of
    its decoded audio are kept; tempos: in BPM, what the model is told for each candidate, if it is told a beat.
    """

    conditions: Conditions
    seeds: tuple[int, ...]
    frames: int
    samples: int
    sampling: Sampling
    prefix_codes: Tensor | None = None
    tempos: tuple[float, ...] = ()

    @staticmethod
    def cat(tasks: "Sequence[Task]") -> "Task":
        """The candidates of several tasks of one length, sampling and prefix; ValueError for different lengths."""
        lengths = {(task.frames, task.samples) for task in tasks}
        if len(lengths) > 1:
            raise ValueError(f"tasks of different lengths in frames and samples: {sorted(lengths)}")
        conditions = Conditions.cat([task.conditions for task in tasks])
        seeds = tuple(seed for task in tasks for seed in task.seeds)
        return replace(tasks[0], conditions=conditions, seeds=seeds)

    @property
    def prefix_frames(self) -> int:
        return 0 if self.prefix_codes is None else self.prefix_codes.shape[2]

    def codes(self, model: LanguageModel, decoder: Decoder, items: slice = slice(None), label: str = "") -> Tensor:
        """Codes `[B, N_q, frames]` of some of the candidates, by default of all; progress is shown under a `label`."""
        seeds = self.seeds[items]
        prefix = None if self.prefix_codes is None else self.prefix_codes.expand(len(seeds), -1, -1)
        return generate_long(
            model, self.conditions[items], self.frames, self.sampling, seeds, ROWS, label, prefix, decoder
        )


class Cancelled(Exception):
    """The decoding was told to stop."""


class Cancellable:
    """A decoder that raises Cancelled at its next step once `cancelled` is set."""

    def __init__(self, decoder: Decoder, cancelled: Event) -> None:
        self._decoder, self._cancelled = decoder, cancelled
        self.start, self.draw = decoder.start, decoder.draw

    def logits(self, cells: Tensor, state: DecodingState) -> Tensor:
        if self._cancelled.is_set():
            raise Cancelled
        return self._decoder.logits(cells, state)


class Tap:
    """A decoder of one item that hands on each of its new frames, codes `[N_q]`, when the last of their codes is drawn."""

    def __init__(self, decoder: Decoder, hand_on: Callable[[Tensor], None]) -> None:
        self._decoder, self._hand_on = decoder, hand_on
        self.start = decoder.start
        self._state: DecodingState | None = None

    def logits(self, cells: Tensor, state: DecodingState) -> Tensor:
        if state is not self._state:
            self._begin(state)
        self._step = state.step
        return self._decoder.logits(cells, state)

    def _begin(self, state: DecodingState) -> None:
        """A window begins: its first step is that of the first frame which is not given."""
        layout = state.layout
        self._state = state
        self._last_step: Sequence[int] = layout.step.amax(0).tolist()  # of each frame
        self._frames = int(layout.position[state.step])  # handed on, or given
        # Codes by their place in the clip; the last place takes what is drawn for empty slots.
        self._codes = layout.step.new_zeros(layout.step.numel() + 1)

    def draw(self, logits: Tensor, scales: Sequence[float], uniforms: Tensor, sampling: Sampling) -> Tensor:
        drawn = self._decoder.draw(logits, scales, uniforms, sampling)
        assert self._state is not None, "logits come first"
        layout = self._state.layout
        self._codes[layout.source[self._step]] = drawn[0]
        complete = bisect.bisect_right(self._last_step, self._step)
        for frame in range(self._frames, complete):
            self._hand_on(self._codes[:-1].view_as(layout.step)[:, frame].clone())
        self._frames = max(self._frames, complete)
        return drawn


class Stream(Generic[Result]):
    """Audio while it is made: iterate for its parts, float32 `[T]` at `rate` Hz, `samples` in all.

    result: what `finish` makes of all candidates `[N, T]`, once the last part was taken. Work begins with the first part that is
    asked for. It stops at its next step when the loop over the parts is left, and by `close` from any thread, after which the
    parts end. What is wrong is raised to whoever iterates.
    """

    def __init__(
        self,
        task: Task,
        model: LanguageModel,
        decoder: Decoder,
        codec: Codec,
        finish: Callable[[np.ndarray], Result],
    ) -> None:
        self.rate, self.samples = codec.rate, task.samples
        self.result: Result | None = None
        self._task, self._model, self._decoder, self._codec, self._finish = task, model, decoder, codec, finish
        self._cancelled = Event()

    def close(self) -> None:
        """Stop what is still being made; without effect at the end."""
        self._cancelled.set()

    def __iter__(self) -> Iterator[np.ndarray]:
        arriving: Codes = SimpleQueue()
        decoder, threads = Cancellable(self._decoder, self._cancelled), torch.get_num_threads()
        # With a single worker the other candidates wait for the first, which has all threads to itself.
        with ThreadPoolExecutor(1, "stream") as pool:
            try:
                first = pool.submit(self._codes, Tap(decoder, arriving.put), slice(0, 1), threads)
                first.add_done_callback(lambda _: arriving.put(None))
                others = pool.submit(self._codes, decoder, slice(1, None), threads)
                yield from self._decoded(arriving)
                with suppress(Cancelled):
                    made = [codes for work in (first, others) if (codes := work.result()) is not None]
                    waves = self._codec.decode(torch.cat(made)).cpu().numpy()
                    self.result = self._finish(waves[:, : self._task.samples])
            finally:
                self.close()

    def _codes(self, decoder: Decoder, items: slice, threads: int) -> Tensor | None:
        """Codes of some candidates, from a thread of its own, whose number of torch's threads has to be set."""
        torch.set_num_threads(threads)
        return self._task.codes(self._model, decoder, items) if self._task.seeds[items] else None

    def _decoded(self, arriving: Codes) -> Iterator[np.ndarray]:
        """The parts of the first candidate; it ends early where the codes do."""
        frames, hop, given = self._task.frames, self._codec.hop, self._task.prefix_frames
        least, context = round(PART_S * self._codec.frame_rate), self._codec.context
        codes = torch.zeros(1, self._codec.num_codebooks, frames, dtype=torch.int64)
        if self._task.prefix_codes is not None:
            codes[:, :, :given] = self._task.prefix_codes
        done = 0
        while done < frames:
            end = min(frames, done + max(least, round(done * GROWTH)))
            needed = min(frames, end + context)
            while given < needed:
                new = arriving.get()
                if new is None:
                    return
                codes[0, :, given] = new
                given += 1
            wave = self._codec.decode(codes[:, :, :needed])[0]
            yield wave[done * hop : min(end * hop, self._task.samples)].cpu().numpy()
            done = end
