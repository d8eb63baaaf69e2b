"""The beat that a model with a beat condition is told: what was asked for, what was heard, or a tempo drawn for the caption."""

import dataclasses
from collections.abc import Sequence

import torch

from musicgen_lite.errors import UserError
from musicgen_lite.generation.sampling import item_seed
from musicgen_lite.io.beats import NO_BEAT, Beat
from musicgen_lite.models.core.base import LanguageModel
from musicgen_lite.models.core.conditions import Conditions
from musicgen_lite.rhythm import FASTEST, SLOWEST, stated_tempo, tempo_matches


def takes_beat(model: LanguageModel) -> bool:
    """Whether a model has a beat condition."""
    return model.config.beat


def check_tempo(tempo: float | None) -> None:
    """Raise UserError for a tempo that no music has."""
    if tempo is not None and not SLOWEST <= tempo <= FASTEST:
        raise UserError(f"tempo: found {tempo:g}; {SLOWEST:g} to {FASTEST:g} BPM are allowed")


def choose_beats(
    model: LanguageModel,
    conditions: Conditions,
    captions: Sequence[str],
    seeds: Sequence[int],
    tempo: float | None = None,
    heard: Sequence[Beat] = (),
) -> list[Beat]:
    """The beat of each row of `conditions`, from where its new music begins on; none at all for a model that takes none.

    The tempo is the first of these: `tempo`, the one that the caption states, that of `heard`, and one that is drawn with
    the row's seed among those that the model finds likely for the caption. heard: the beat of what comes before each row;
    its grid goes on where the tempo is about the same. Otherwise a bar begins with the music. What is drawn for a row does
    not depend on other rows. UserError for a tempo that is not allowed, or that the model cannot be told.
    """
    check_tempo(tempo)
    if not takes_beat(model):
        if tempo is not None:
            raise UserError(
                f"tempo: found {tempo:g}, but this model has no beat condition; leave it out, or train one that has with "
                "`dvc exp run -S model.a.beat=true`"
            )
        return []
    beats = []
    for row, (caption, seed) in enumerate(zip(captions, seeds, strict=True)):
        before = heard[row] if heard else NO_BEAT
        bpm = tempo or stated_tempo(caption) or (before.bpm if before.known else _drawn(model, conditions, row, seed))
        goes_on = before.known and tempo_matches(before.bpm, bpm)
        beats.append(Beat(bpm, before.beat_s if goes_on else 0.0))
    return beats


def _drawn(model: LanguageModel, conditions: Conditions, row: int, seed: int) -> float:
    """A tempo for the caption of a row, by the inverse of their distribution at a number that the seed gives."""
    # Alone and at a fixed length, so that rounding does not depend on the other rows.
    alone = conditions[row : row + 1].pad_text(model.config.max_text)
    with torch.no_grad():
        probabilities, tempi = model.tempos(alone)
    reached = probabilities[0].double().cpu().cumsum(0)
    place = item_seed("tempo", seed) / 2**48 * float(reached[-1])
    index = torch.searchsorted(reached, place, right=True).clamp_max(len(tempi) - 1)
    return float(tempi[index])


def with_beats(conditions: Conditions, beats: Sequence[Beat]) -> Conditions:
    """The conditions with the beat of each row; as they are where there is none."""
    if not beats:
        return conditions
    beat = torch.tensor(beats, dtype=torch.float32, device=conditions.text.device)
    has_beat = torch.ones(len(beats), dtype=torch.bool, device=beat.device)
    return dataclasses.replace(conditions, beat=beat, has_beat=has_beat)
