"""Music that the project composes, renders and describes itself: an endless corpus from seeds, without any download."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from musicgen_lite.compute import IN_THIS_PROCESS, Engine
from musicgen_lite.io.clips import SPLITS, Clip
from musicgen_lite.io.progress import track
from musicgen_lite.sources.synthetic.captions import caption, describe, paraphrase
from musicgen_lite.sources.synthetic.compose import Note, Piece, compose
from musicgen_lite.sources.synthetic.render import render

__all__ = ["Note", "Piece", "clip", "clips", "compose", "corpus", "describe", "paraphrase", "render"]

# Splits of a corpus lie this far apart in seeds, so that they never share one.
SPLIT_STRIDE = 2_000_000
TOGETHER = 4  # clips of a piece


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


@dataclass(frozen=True)
class Seeds:
    """Consecutive seeds whose clips are composed together."""

    split: str
    first: int
    count: int


@dataclass(frozen=True)
class Composing:
    """The clips of some seeds: what the stage `download` computes of this source, wherever it does."""

    seconds: float
    rate: int

    def name(self, piece: Seeds) -> str:
        """See `Work.name`."""
        return f"the pieces of seeds {piece.first} to {piece.first + piece.count - 1}"

    def read(self, piece: Seeds) -> Seeds:
        """See `Work.read`."""
        return piece

    def compute(self, inputs: Seeds) -> list[Clip]:
        """See `Work.compute`."""
        seeds = range(inputs.first, inputs.first + inputs.count)
        return [clip(seed, inputs.split, self.seconds, self.rate) for seed in seeds]

    def refused(self, reasons: list[str]) -> list[Clip]:
        """See `resume.Begun.map`: everything composed is a clip."""
        return []


def seeds(split: str, first: int, count: int) -> Iterator[Seeds]:
    """The seeds of a split, some at a time."""
    for done in range(0, count, TOGETHER):
        yield Seeds(split, first + done, min(TOGETHER, count - done))


def clips(
    first_seed: int, count: int, split: str, seconds: float = 8.0, rate: int = 16000, engine: Engine = IN_THIS_PROCESS
) -> Iterator[Clip]:
    """Clips of `count` seeds from `first_seed` on, in order, the same whatever composes them."""
    return chain.from_iterable(engine.map(Composing(seconds, rate), seeds(split, first_seed, count)))


def corpus(first_seed: int, counts: Sequence[int], seconds: float, rate: int, engine: Engine) -> Iterator[Clip]:
    """Clips of all splits in turn: `counts` of train, validation and test."""
    sizes = dict(zip(SPLITS, counts, strict=True))
    starts = (first_seed + number * SPLIT_STRIDE for number in range(len(sizes)))
    pieces = chain.from_iterable(map(seeds, sizes, starts, counts))
    made = chain.from_iterable(engine.map(Composing(seconds, rate), pieces))
    ahead: list[Clip] = []  # the first of the next split

    def of(split: str) -> Iterator[Clip]:
        while one := ahead.pop() if ahead else next(made, None):
            if one.split != split:
                ahead.append(one)
                return
            yield one

    for split, count in sizes.items():
        yield from track(of(split), f"compose {split}", total=count, unit="clip")
