"""Music that the project composes, renders and describes itself: an endless corpus from seeds, without any download."""

import contextlib
import functools
import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from multiprocessing import resource_tracker

from musicgen_lite.io.clips import SPLITS, Clip
from musicgen_lite.io.progress import track
from musicgen_lite.sources.synthetic.captions import caption, describe, paraphrase
from musicgen_lite.sources.synthetic.compose import Note, Piece, compose
from musicgen_lite.sources.synthetic.render import render

__all__ = ["Note", "Piece", "clip", "clips", "compose", "corpus", "describe", "paraphrase", "render"]

# Splits of a corpus lie this far apart in seeds, so that they never share one.
SPLIT_STRIDE = 2_000_000


def clip(seed: int, split: str, seconds: float = 8.0, rate: int = 16000) -> Clip:
    """The captioned clip of a seed: the same bytes and words every time."""
    piece = compose(seed, seconds)
    words = caption(piece, seed)
    name = f"syn-{seed:08d}"
    extra = {
        "genre": piece.genre, "tempo": piece.tempo, "key": f"{piece.key} {piece.mode}", "mood": piece.mood,
        "tempo_class": piece.tempo_class, "states_tempo": words.states_tempo, "beat_s": 0.0,  # a piece begins with a bar
    }  # fmt: skip
    return Clip(name, name, split, words.text, words.aspects, render(piece, seconds, rate), rate, extra)


@contextlib.contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Ctrl-C is for this process alone, which ends those that it starts within; until then it is held back here."""
    resource_tracker.ensure_running()  # starting it unblocks what was blocked
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def clips(
    first_seed: int, count: int, split: str, seconds: float = 8.0, rate: int = 16000, workers: int = 1
) -> Iterator[Clip]:
    """Clips of `count` seeds from `first_seed` on, in order, the same whatever the number of worker processes."""
    make = functools.partial(clip, split=split, seconds=seconds, rate=rate)
    seeds = range(first_seed, first_seed + count)
    if workers <= 1:
        yield from map(make, seeds)
        return
    with _deaf_to_interrupts():
        started = multiprocessing.get_context("spawn").Pool(workers)
    with started as pool:
        yield from pool.imap(make, seeds, chunksize=4)


def corpus(
    first_seed: int, counts: Sequence[int], seconds: float = 8.0, rate: int = 16000, workers: int = 1
) -> Iterator[Clip]:
    """Clips of all splits in turn: `counts` of train, validation and test."""
    for number, (split, count) in enumerate(zip(SPLITS, counts, strict=True)):
        made = clips(first_seed + number * SPLIT_STRIDE, count, split, seconds, rate, workers)
        yield from track(made, f"compose {split}", total=count, unit="clip")
