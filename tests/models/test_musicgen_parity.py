"""transformers' MusicGen decoder as the oracle: the same weights give the same logits and the same greedy codes."""

from typing import Any

import pytest
import torch

from benchmarks import peer
from musicgen_lite.generation import Sampling, generate
from musicgen_lite.models import LanguageModel
from tests.support.models_tiny import conditions, random_codes, tiny

pytestmark = pytest.mark.slow
FRAMES = 100


@pytest.fixture(scope="module")
def ours() -> LanguageModel:
    return tiny("b", "delay", scale=3.0, max_frames=FRAMES)


@pytest.fixture(scope="module")
def theirs(ours: LanguageModel) -> Any:
    return peer.decoder(ours)


@torch.no_grad()
def test_same_weights_same_logits(ours: LanguageModel, theirs: Any) -> None:
    given, codes = conditions(3, "b").without_prompt(), random_codes(3, FRAMES)
    layout = ours.pattern.layout(FRAMES, 4)
    context = ours.context(given)
    assert context.memory_bias is not None
    logits = theirs(
        input_ids=layout.inputs(codes, 16).transpose(1, 2).flatten(0, 1),
        encoder_hidden_states=context.memory,
        encoder_attention_mask=(context.memory_bias[:, 0, 0] == 0).long(),
    ).logits
    expected = layout.revert(logits.view(3, 4, layout.steps, 16).transpose(1, 2))
    actual = ours(codes, given)
    assert actual.std() > 0.1
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=0)


@torch.no_grad()
def test_same_weights_same_greedy_codes(ours: LanguageModel, theirs: Any) -> None:
    given = conditions(4, "b").without_prompt().pad_text(ours.config.max_text)
    context = ours.context(given)
    assert context.memory_bias is not None
    expected = theirs.generate(
        torch.full((4 * 4, 1), 16),
        encoder_hidden_states=context.memory,
        encoder_attention_mask=(context.memory_bias[:, 0, 0] == 0).long(),
        attention_mask=torch.ones(4, 1),  # else they hide the start token, which they take for padding
        do_sample=False,
        num_beams=1,
        num_return_sequences=1,
        use_cache=False,  # their decoder alone makes a cache that mixes self- and cross-attention
        pad_token_id=16,
        decoder_start_token_id=16,
        max_length=FRAMES + 4,
    )
    codes = generate(ours, given, FRAMES, Sampling(top_k=1), range(4))
    assert len(codes.unique()) > 4
    assert torch.equal(codes, expected.view(4, 4, -1)[:, :, -FRAMES:])
