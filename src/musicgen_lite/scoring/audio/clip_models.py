"""Models that give each clip numbers by itself, of which scores follow: PaSST and audiobox-aesthetics. Each is optional."""

from collections.abc import Collection
from typing import Protocol

from musicgen_lite.compute import Recipe
from musicgen_lite.scoring.audio import aesthetics, passt
from musicgen_lite.scoring.audio.embeddings import Embedder, Embeddings
from musicgen_lite.scoring.statistics.intervals import Bootstrap
from musicgen_lite.scoring.statistics.scores import Scores


class ClipModel(Embedder, Protocol):
    """An embedder with one row for each clip, in which no distance is measured."""

    def scores(self, own: Embeddings, real: Embeddings | None, suffix: str, bootstrap: Bootstrap) -> Scores:
        """The scores of a set of clips; `suffix` ends their names. `real`: real clips of the same ids, where there are any."""


def recipes(
    passt_weights: str, aesthetics_model: str, *, device: str, trusted: Collection[str]
) -> tuple[Recipe[ClipModel], ...]:
    """The models that are named, by `score.passt` and `score.aesthetics`; an empty name is none."""
    named = ((passt.load, passt_weights), (aesthetics.load, aesthetics_model))
    return tuple(Recipe(load, name, device=device, trusted=trusted) for load, name in named if name)


def check(passt_weights: str, aesthetics_model: str, trusted: Collection[str]) -> None:
    """Raise UserError where a model is named whose package or weights are not there, or not trusted."""
    if passt_weights:
        passt.check(passt_weights, trusted)
    if aesthetics_model:
        aesthetics.check(aesthetics_model, trusted)
