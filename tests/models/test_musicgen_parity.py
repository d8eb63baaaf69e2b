"""transformers' MusicGen decoder as the oracle: the same weights give the same logits and the same greedy codes."""

from typing import Any

import pytest
import torch

from musicgen_lite.generation import Sampling, generate
from musicgen_lite.models import LanguageModel

from .tiny import conditions, random_codes, tiny

pytestmark = pytest.mark.slow
FRAMES = 100


@pytest.fixture(scope="module")
def ours() -> LanguageModel:
    return tiny("b", "delay", scale=3.0, max_frames=FRAMES)


@pytest.fixture(scope="module")
def theirs(ours: LanguageModel) -> Any:
    """Their model of our size, holding our weights."""
    from transformers import MusicgenForCausalLM
    from transformers.models.musicgen.configuration_musicgen import MusicgenDecoderConfig

    c = ours.config
    peer = MusicgenForCausalLM(
        MusicgenDecoderConfig(
            vocab_size=c.codebook_size,
            num_codebooks=c.num_codebooks,
            hidden_size=c.d_model,
            num_hidden_layers=c.layers,
            num_attention_heads=c.heads,
            ffn_dim=4 * c.d_model,
            max_position_embeddings=len(ours.position_embedding),
            dropout=0.0,
            layerdrop=0.0,
            pad_token_id=c.codebook_size,
            bos_token_id=c.codebook_size,
            eos_token_id=None,
        )
    ).eval()
    weights = dict(ours.named_parameters())
    table = weights["code_embedding.weight"].view(c.num_codebooks, c.codebook_size + 1, -1)
    mapped = {f"model.decoder.embed_tokens.{q}.weight": table[q] for q in range(c.num_codebooks)}
    mapped |= {f"lm_heads.{q}.weight": weights["head"][q] for q in range(c.num_codebooks)}
    norms = {
        "attention_norm": "self_attn_layer_norm",
        "cross_norm": "encoder_attn_layer_norm",
        "mlp_norm": "final_layer_norm",
    }
    for i in range(c.layers):
        block, layer = f"blocks.{i}.", f"model.decoder.layers.{i}."
        self_qkv = weights[block + "attention.qkv.weight"].chunk(3)
        cross_qkv = (weights[block + "cross.q.weight"], *weights[block + "cross.kv.weight"].chunk(2))
        for name, parts in (("self_attn", self_qkv), ("encoder_attn", cross_qkv)):
            mapped |= {f"{layer}{name}.{letter}_proj.weight": part for letter, part in zip("qkv", parts, strict=True)}
        mapped[layer + "self_attn.out_proj.weight"] = weights[block + "attention.out.weight"]
        mapped[layer + "encoder_attn.out_proj.weight"] = weights[block + "cross.out.weight"]
        mapped[layer + "fc1.weight"] = weights[block + "up.weight"]
        mapped[layer + "fc2.weight"] = weights[block + "down.weight"]
        for mine, other in norms.items():
            mapped |= {f"{layer}{other}.{end}": weights[f"{block}{mine}.{end}"] for end in ("weight", "bias")}
    mapped |= {f"model.decoder.layer_norm.{end}": weights[f"norm.{end}"] for end in ("weight", "bias")}
    peer.load_state_dict(mapped)  # strict: every weight of theirs has one of ours
    peer.model.decoder.embed_positions.weights = ours.position_embedding
    return peer


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
