"""Which beat a model is told: asked for, stated, heard or drawn, in this order, and for an item alone as in any batch."""

from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from musicgen_lite.errors import UserError
from musicgen_lite.generation import choose_beats, takes_beat, with_beats
from musicgen_lite.io.beats import NO_BEAT, Beat
from musicgen_lite.models.core.conditions import Conditions
from tests.support.models_tiny import conditions, tiny

TEMPI = torch.tensor([60.0, 90.0, 120.0, 150.0])
PLAIN, STATED = "A calm piano.", "A techno beat at 128 BPM."


def hearing(**config: Any) -> Any:
    """A model that knows tempi: those of a caption follow from its vectors."""

    def tempos(given: Conditions) -> tuple[torch.Tensor, torch.Tensor]:
        return given.text.sum(dim=1)[:, : len(TEMPI)].softmax(dim=1), TEMPI

    return SimpleNamespace(config=SimpleNamespace(**({"beat": True, "max_text": 9} | config)), tempos=tempos)


def chosen(caption: str, tempo: float | None = None, heard: Beat = NO_BEAT, seed: int = 0) -> Beat:
    [beat] = choose_beats(hearing(), conditions(1, "a"), [caption], [seed], tempo, [heard])
    return beat


def test_the_tempo_is_the_one_asked_for_then_stated_then_heard_then_drawn() -> None:
    heard = Beat(100.0, 0.2)
    assert chosen(STATED, tempo=90.0, heard=heard) == Beat(90.0, 0.0)
    assert chosen(STATED, heard=heard) == Beat(128.0, 0.0)
    assert chosen(PLAIN, heard=heard) == heard
    assert chosen(PLAIN).bpm in TEMPI.tolist()
    assert chosen(PLAIN).beat_s == 0
    assert chosen("Fast, 90 to 100 BPM.").bpm in TEMPI.tolist()  # a range states none


def test_what_is_heard_goes_on_where_the_tempo_is_about_the_same() -> None:
    assert chosen(STATED, heard=Beat(127.6, 0.3)) == Beat(128.0, 0.3)
    assert chosen(STATED, heard=Beat(64.0, 0.3)) == Beat(128.0, 0.0)
    assert chosen(PLAIN, tempo=104.0, heard=Beat(100.0, 0.3)) == Beat(104.0, 0.3)


def test_tempi_are_drawn_as_often_as_the_model_finds_them_likely() -> None:
    given = conditions(1, "a")
    likely = hearing().tempos(given)[0][0]
    drawn = Counter(chosen(PLAIN, seed=seed).bpm for seed in range(2000))
    assert [drawn[bpm] / 2000 for bpm in TEMPI.tolist()] == pytest.approx(likely.tolist(), abs=0.04)


def test_an_item_has_the_same_tempo_in_any_batch() -> None:
    given, seeds, model = conditions(6, "a"), [5, 3, 8, 1, 7, 2], hearing()
    together = choose_beats(model, given, [PLAIN] * 6, seeds)
    alone = [choose_beats(model, given[row : row + 1], [PLAIN], [seeds[row]])[0] for row in range(6)]
    assert together == alone
    order = torch.tensor([4, 2, 0])
    assert choose_beats(model, given[order], [PLAIN] * 3, [seeds[row] for row in order]) == [
        together[row] for row in order
    ]
    assert len({choose_beats(model, given[:1], [PLAIN], [seed])[0].bpm for seed in range(50)}) > 1


def test_a_model_without_the_condition_is_told_nothing_and_refuses_a_tempo() -> None:
    model = tiny("a", "delay")
    assert not takes_beat(model)
    assert choose_beats(model, conditions(2, "a"), [STATED] * 2, [0, 1]) == []
    with pytest.raises(UserError, match=r"tempo: found 120, but this model has no beat condition"):
        choose_beats(model, conditions(1, "a"), [PLAIN], [0], tempo=120.0)


@pytest.mark.parametrize("tempo", [19.9, 400.5, 0.0, -120.0, float("nan"), float("inf")])
def test_a_tempo_that_no_music_has_is_refused(tempo: float) -> None:
    with pytest.raises(UserError, match=r"tempo: found .*; 20 to 400 BPM are allowed"):
        chosen(PLAIN, tempo=tempo)


def test_the_bounds_are_allowed() -> None:
    assert [chosen(PLAIN, tempo=bpm).bpm for bpm in (20.0, 400.0)] == [20.0, 400.0]


def test_beats_become_tensors_of_the_conditions() -> None:
    given = conditions(2, "a")
    assert with_beats(given, []) is given
    told = with_beats(given, [Beat(120.0, 0.5), Beat(90.0)])
    assert told.beat is not None
    assert told.has_beat is not None
    assert told.beat.tolist() == [[120.0, 0.5], [90.0, 0.0]]
    assert told.beat.dtype == torch.float32
    assert told.has_beat.tolist() == [True, True]
    assert told.text is given.text
