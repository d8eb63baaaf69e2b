"""transformers' MusicGen as a peer: models of our size, holding our weights."""

from typing import Any

import torch

from musicgen_lite.models import LanguageModel
from musicgen_lite.models.musicgen import tensor_names


def decoder(ours: LanguageModel) -> Any:
    """A MusicgenForCausalLM of the size of a Model B or musicgen, delayed, holding its weights, in eval mode."""
    from transformers import MusicgenForCausalLM
    from transformers.models.musicgen.configuration_musicgen import MusicgenDecoderConfig

    c, positions = ours.config, ours.position_embedding
    assert positions is not None, "theirs are added, not rotary"
    peer = MusicgenForCausalLM(
        MusicgenDecoderConfig(
            vocab_size=c.codebook_size, num_codebooks=c.num_codebooks, hidden_size=c.d_model,
            num_hidden_layers=c.layers, num_attention_heads=c.heads, ffn_dim=4 * c.d_model,
            max_position_embeddings=len(positions), dropout=0.0, layerdrop=0.0,
            pad_token_id=c.codebook_size, bos_token_id=c.codebook_size, eos_token_id=None,
        )
    ).eval()  # fmt: skip
    own, shapes = dict(ours.named_parameters()), {name: tensor.shape for name, tensor in peer.state_dict().items()}
    mapped = {
        name: part.reshape(shapes[name])
        for key, names in tensor_names(c.layers, c.num_codebooks).items()
        for name, part in zip(names, own[key].chunk(len(names)), strict=True)
    }
    peer.load_state_dict(mapped)  # strict: every weight of theirs has one of ours
    peer.model.decoder.embed_positions.weights = positions
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
    # As from_pretrained chooses it; put together in memory, the decoder is left with none and attends slowly.
    model.decoder.set_attn_implementation("sdpa")
    return ready(model).to(dtype)


def ready(model: Any) -> Any:
    """A MusicgenForConditionalGeneration that was put together, with the special ids that generating needs, in eval mode."""
    settings = model.generation_config
    settings.pad_token_id = settings.bos_token_id = settings.decoder_start_token_id = model.config.decoder.vocab_size
    settings.eos_token_id = None
    return model.eval()
