"""What is MusicGen's own: a null that adds exactly nothing, and captions that stand alone."""

import torch

from tests.support.models_tiny import conditions, random_codes, tiny


@torch.no_grad()
def test_without_a_caption_cross_attention_adds_nothing() -> None:
    model, codes = tiny("musicgen", "delay"), random_codes(3, 8)
    silent = model(codes, conditions(3, "musicgen").without_text())
    assert not torch.equal(silent, model(codes, conditions(3, "musicgen")))
    for name, parameter in model.named_parameters():
        if name.endswith("cross.out.weight"):
            parameter.zero_()
    assert torch.equal(silent, model(codes, conditions(3, "musicgen")))


@torch.no_grad()
def test_a_caption_does_not_see_the_null() -> None:
    """A single token takes all of the attention, so that the output is its value."""
    model = tiny("musicgen", "delay")
    context = model.context(conditions(3, "musicgen").without_prompt())
    assert context.memory_bias is not None
    assert context.memory_bias[:, 0, 0, 0].tolist() == [-torch.inf] * 3
    assert (context.memory_bias[:, 0, 0, 1:4] == 0).all()
