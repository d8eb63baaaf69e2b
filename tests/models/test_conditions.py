import math

import numpy as np
import pytest
import torch

from musicgen_lite.models import Conditions
from tests.support.models_tiny import conditions, with_beats


def test_texts_are_padded_and_an_empty_one_counts_as_none() -> None:
    given = Conditions.from_texts([torch.ones(2, 3), torch.ones(0, 3), torch.ones(4, 3)])
    assert given.text.shape == (3, 4, 3)
    assert given.text_mask.sum(dim=1).tolist() == [2, 0, 4]
    assert given.has_text.tolist() == [True, False, True]
    assert given.has_prompt.tolist() == [False] * 3
    assert (given.text[~given.text_mask] == 0).all()


def test_cat_pads_texts_and_fills_in_missing_prompts() -> None:
    both = Conditions.cat([conditions(2, "a").pad_text(9), conditions(3, "b")])
    assert len(both) == 5
    assert both.prompt is not None
    assert both.prompt.shape == (5, 4, 7)
    assert both.has_prompt.tolist() == [False, False, True, True, True]
    assert torch.equal(both.text_mask.sum(dim=1), torch.cat([conditions(n, "a").text_mask.sum(dim=1) for n in (2, 3)]))
    short = conditions(1, "b")
    assert short.prompt is not None
    with pytest.raises(ValueError, match="different shapes"):
        Conditions.cat([conditions(1, "b"), Conditions.from_texts([torch.ones(1, 12)], short.prompt[:, :, :3])])


def test_beats_are_stacked_and_those_not_known_are_none() -> None:
    texts = [np.ones((2, 3), np.float16)] * 3
    given = Conditions.from_arrays(texts, beats=[(120.0, 0.25), (math.nan, math.nan), (80.0, -1.5)])
    assert given.has_beat.tolist() == [True, False, True]
    assert given.beat is not None
    assert given.beat.dtype == torch.float32
    assert given.beat.tolist() == [[120.0, 0.25], [0.0, 0.0], [80.0, -1.5]]
    none = Conditions.from_arrays(texts)
    assert none.beat is None
    assert none.has_beat.tolist() == [False] * 3


def test_beats_stay_with_their_rows() -> None:
    given = with_beats(conditions(3, "b"))
    both = Conditions.cat([conditions(2, "b"), given])
    assert both.beat is not None
    assert given.beat is not None
    assert both.has_beat.tolist() == [False, False, True, False, True]
    assert torch.equal(both.beat[2:], given.beat)
    four = both.repeat_interleave(2)[4:8].to("cpu")
    assert four.beat is not None
    assert torch.equal(four.beat, given.beat[[0, 0, 1, 1]])
    assert four.has_beat.tolist() == [True, True, False, False]
    assert not given.without_beat().has_beat.any()
    assert given.without_text().without_prompt().has_beat.tolist() == given.has_beat.tolist()


def test_candidates_of_a_prompt_are_neighbours() -> None:
    given = conditions(2, "b")
    four = given.repeat_interleave(2)
    assert four.prompt is not None
    assert given.prompt is not None
    assert torch.equal(four.text[1], given.text[0])
    assert torch.equal(four.prompt[2], given.prompt[1])


def test_dropping_one_condition_keeps_the_other() -> None:
    given = conditions(2, "b")
    assert not given.without_text().has_text.any()
    assert given.without_text().has_prompt.all()
    assert not given.without_prompt().has_prompt.any()
    assert given.without_prompt().has_text.all()


def test_text_longer_than_asked_for_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        conditions(2, "a").pad_text(1)
