import pytest
import torch

from musicgen_lite.models import Conditions
from tests.support.models_tiny import conditions


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
