"""The embedding of many clips by an engine: some at a time, with the models that each process loads for itself."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np

from musicgen_lite import clap as claps
from musicgen_lite import codec as codecs
from musicgen_lite.clap import Clap
from musicgen_lite.codec import Codec
from musicgen_lite.compute import Engine, Recipe
from musicgen_lite.compute.keeping import Keeping
from musicgen_lite.io.hashing import short_digest
from musicgen_lite.params import ScoreParams
from musicgen_lite.scoring.audio import clip_models as models
from musicgen_lite.scoring.audio import vggish as vggishes
from musicgen_lite.scoring.audio.clip_models import ClipModel
from musicgen_lite.scoring.audio.embedders import Embedders
from musicgen_lite.scoring.audio.embeddings import Embedder, Item, versions
from musicgen_lite.scoring.audio.vggish import VggishEmbedder

CLIPS_TOGETHER = 4  # of a piece; each is embedded by itself, so that their number changes nothing


@dataclass(frozen=True)
class Clips:
    """Clips to embed, and the names of the spaces."""

    items: Sequence[Item]
    spaces: Sequence[str]


@dataclass(frozen=True)
class Embedding:
    """The embeddings `[W, D]` of each clip in each space."""

    embedders: Recipe[Embedders]

    def name(self, piece: Clips) -> str:
        """See `Work.name`."""
        return f"clips {piece.items[0][0]} to {piece.items[-1][0]}"

    def read(self, piece: Clips) -> Clips:
        """See `Work.read`."""
        return piece

    def compute(self, inputs: Clips) -> list[list[np.ndarray]]:
        """See `Work.compute`."""
        known = self.embedders.model.by_name
        spaces = [known[name] for name in inputs.spaces]
        return [[space.embed(samples, rate) for space in spaces] for _, samples, rate in inputs.items]


def load(
    clap: Recipe[Clap],
    codec: Recipe[Codec],
    judge: Recipe[Clap] | None,
    protocols: tuple[str, ...],
    clip_models: tuple[Recipe[ClipModel], ...],
    device: str,
    vggish: Recipe[VggishEmbedder] | None = None,
) -> Embedders:
    """The embedders of these models, each of which knows its own device."""
    loaded, held_out = tuple(one.model for one in clip_models), None if judge is None else judge.model
    frames = None if vggish is None else vggish.model
    return Embedders(clap.model, codec.model, held_out, protocols, clip_models=loaded, vggish=frames)


def spread(
    engine: Engine,
    clap: Recipe[Clap],
    codec: Recipe[Codec],
    judge: Recipe[Clap] | None = None,
    protocols: tuple[str, ...] = ("ours",),
    clip_models: tuple[Recipe[ClipModel], ...] = (),
    vggish: Recipe[VggishEmbedder] | None = None,
    keep: Path | None = None,
) -> Embedders:
    """Embedders whose sets of clips are embedded by `engine`.

    keep: a folder of unfinished work, where embeddings are kept as they are made; who embeds the same sets in the same order
    again computes those alone that are not there.
    """
    recipe = Recipe(load, clap, codec, judge, protocols, clip_models, vggish=vggish)
    sets = count()

    def vectors(items: Iterator[Item], embedders: Sequence[Embedder]) -> Iterator[list[np.ndarray]]:
        own = engine
        if keep:
            computed_by = [*(one.fingerprint for one in embedders), versions()]
            own = Keeping(engine, keep / f"{next(sets)}-{short_digest(computed_by)}", list)
        for found in own.map(Embedding(recipe), pieces(items, [one.name for one in embedders])):
            yield from found

    return replace(recipe.model, vectors=vectors)


def pieces(items: Iterable[Item], spaces: Sequence[str]) -> Iterator[Clips]:
    """Consecutive `items`, some to a piece."""
    items = iter(items)
    while some := list(islice(items, CLIPS_TOGETHER)):
        yield Clips(some, spaces)


def named(
    engine: Engine,
    codec: str,
    num_codebooks: int,
    score: ScoreParams,
    trusted: Collection[str],
    resolve: Callable[[str], str],
    judged: bool = False,
    keep: Path | None = None,
) -> Embedders:
    """The embedders that the parameters name, whose sets of clips are embedded by `engine`.

    codec: its name; trusted: digests of pickles that may be loaded; `resolve` finds a model's name; judged: with the held-out
    CLAP, if one is named; keep: see `spread`.
    """
    common: dict[str, Any] = {"device": engine.device, "trusted": trusted}
    coder = Recipe(codecs.load, resolve(codec), num_codebooks=num_codebooks, **common)
    ranker = Recipe(claps.load, resolve(score.clap), **common)
    judge = vggish = None
    if judged and score.judge:
        judge = Recipe(claps.load, resolve(score.judge), parameter="score.judge", **common)
    if "audiocraft" in score.protocols:
        vggish = Recipe(vggishes.load, resolve(score.vggish), device=engine.device)
    heard = models.recipes(resolve(score.passt), resolve(score.aesthetics), **common)
    return spread(engine, ranker, coder, judge, score.protocols, heard, vggish, keep)
