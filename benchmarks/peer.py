"""transformers' MusicGen as a peer: models of our size, holding our weights."""

from typing import Any

import torch

from musicgen_lite.models import LanguageModel


def decoder(ours: LanguageModel) -> Any:
    """A MusicgenForCausalLM of the size of a Model B with the delay pattern, holding its weights, in eval mode."""
    from transformers import MusicgenForCausalLM
    from transformers.models.musicgen.configuration_musicgen import MusicgenDecoderConfig

    c = ours.config
    peer = MusicgenForCausalLM(
        MusicgenDecoderConfig(
            vocab_size=c.codebook_size, num_codebooks=c.num_codebooks, hidden_size=c.d_model,
            num_hidden_layers=c.layers, num_attention_heads=c.heads, ffn_dim=4 * c.d_model,
            max_position_embeddings=len(ours.position_embedding), dropout=0.0, layerdrop=0.0,
            pad_token_id=c.codebook_size, bos_token_id=c.codebook_size, eos_token_id=None,
        )
    ).eval()  # fmt: skip
    weights = dict(ours.named_parameters())
    table = weights["code_embedding.weight"].view(c.num_codebooks, c.codebook_size + 1, -1)
    mapped = {f"model.decoder.embed_tokens.{q}.weight": table[q] for q in range(c.num_codebooks)}
    mapped |= {f"lm_heads.{q}.weight": weights["head"][q] for q in range(c.num_codebooks)}
    norms = {
        "attention_norm": "self_attn_layer_norm", "cross_norm": "encoder_attn_layer_norm", "mlp_norm": "final_layer_norm",
    }  # fmt: skip
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


def whole(ours: LanguageModel, dtype: torch.dtype = torch.float32) -> Any:
    """`decoder` inside a MusicgenForConditionalGeneration, whose text encoder and codec are too small to matter."""
    from transformers import EncodecConfig, EncodecModel, MusicgenForConditionalGeneration, T5Config, T5EncoderModel

    c = ours.config
    text = T5EncoderModel(
        T5Config(vocab_size=100, d_model=c.text_dim, num_layers=1, num_heads=1, d_kv=8, d_ff=8, dropout_rate=0.0)
    )
    rate = round(c.frame_rate * 320)
    codec = EncodecModel(
        EncodecConfig(
            sampling_rate=rate, num_filters=2, hidden_size=8, codebook_size=c.codebook_size, codebook_dim=8,
            upsampling_ratios=[8, 5, 4, 2], num_lstm_layers=1,
            target_bandwidths=[c.num_codebooks * (c.codebook_size - 1).bit_length() * c.frame_rate / 1000],
        )
    )  # fmt: skip
    model = MusicgenForConditionalGeneration(text_encoder=text, audio_encoder=codec, decoder=decoder(ours))
    settings = model.generation_config
    settings.pad_token_id = settings.bos_token_id = settings.decoder_start_token_id = c.codebook_size
    settings.eos_token_id = None
    return model.eval().to(dtype)
