import pytest
import torch

from musicgen_lite.errors import UserError
from musicgen_lite.generation import Sampling
from musicgen_lite.generation.sampling import draw
from musicgen_lite.generation.sampling import uniforms as uniform_numbers

LOGITS = torch.tensor([0.5, 2.0, -1.0, 1.5, 0.0, -3.0, 1.0, 0.2])


def frequencies(sampling: Sampling, draws: int = 40_000) -> torch.Tensor:
    uniforms = torch.rand(draws, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    codes = draw(LOGITS.expand(draws, 1, -1), uniforms, sampling)
    return codes.flatten().bincount(minlength=len(LOGITS)) / draws


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_follow_the_softmax(temperature: float) -> None:
    expected = (LOGITS / temperature).softmax(dim=0)
    torch.testing.assert_close(frequencies(Sampling(temperature=temperature)), expected, atol=0.01, rtol=0)


def test_top_k_keeps_the_k_likeliest_in_proportion() -> None:
    expected = LOGITS.exp() * torch.tensor([0, 1, 0, 1, 0, 0, 1, 0])
    torch.testing.assert_close(frequencies(Sampling(top_k=3)), expected / expected.sum(), atol=0.01, rtol=0)
    assert frequencies(Sampling(top_k=1)).tolist() == [0, 1, 0, 0, 0, 0, 0, 0]


def test_top_p_keeps_the_smallest_set_that_reaches_p() -> None:
    p = LOGITS.softmax(dim=0)
    kept = torch.tensor([0, 1, 0, 1, 0, 0, 0, 0])
    assert p[1] < 0.5 < p[1] + p[3]
    expected = p * kept
    torch.testing.assert_close(frequencies(Sampling(top_p=0.5)), expected / expected.sum(), atol=0.01, rtol=0)
    assert frequencies(Sampling(top_p=1e-6)).tolist() == [0, 1, 0, 0, 0, 0, 0, 0]


def test_top_k_and_top_p_work_together() -> None:
    assert frequencies(Sampling(top_k=2, top_p=0.99))[torch.tensor([0, 2, 4, 5, 6, 7])].sum() == 0


def test_the_ends_of_the_interval_give_codes_that_are_kept() -> None:
    ends = torch.tensor([[0.0], [1 - 2**-53]], dtype=torch.float64)
    assert draw(LOGITS.expand(2, 1, -1), ends, Sampling(top_k=3)).flatten().tolist() == [1, 6]


def test_uniforms_belong_to_their_item_alone_and_do_not_depend_on_how_many_follow() -> None:
    together, alone, short = (uniform_numbers(*sizes) for sizes in (([3, 4, 5], 40, 2), ([4], 40, 2), ([4], 7, 2)))
    assert torch.equal(together[:, 1:2], alone)
    assert torch.equal(alone[:7], short)
    assert len(together.unique()) == together.numel()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"temperature": 0.0}, "temperature: found 0"),
        ({"temperature": float("nan")}, "temperature: found nan"),
        ({"top_k": -1}, "top_k: found -1"),
        ({"top_p": 1.0}, "top_p: found 1"),
        ({"guidance": -0.5}, "guidance: found -0.5"),
    ],
)
def test_impossible_values_are_named(values: dict[str, float], words: str) -> None:
    with pytest.raises(UserError, match=words):
        Sampling(**values)  # type: ignore[arg-type]
