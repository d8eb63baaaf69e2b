"""transformers' MusicGen as a peer: models of our size, holding our weights."""

from typing import Any

import torch

from musicgen_lite import published
from musicgen_lite.models import LanguageModel
from musicgen_lite.models.musicgen import decoder_tensors
from musicgen_lite.published import ready


def decoder(ours: LanguageModel) -> Any:
    """A MusicgenForCausalLM of the size of a Model B or musicgen, delayed, holding its weights, in eval mode."""
    from transformers import MusicgenForCausalLM

    assert ours.position_embedding is not None, "theirs are added, not rotary"
    peer = MusicgenForCausalLM(published.decoder_config(ours.config)).eval()
    peer.load_state_dict(decoder_tensors(ours))  # strict: every weight of theirs has one of ours
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
    # As from_pretrained chooses it; put together in memory, the decoder is left with none and attends slowly.
    model.decoder.set_attn_implementation("sdpa")
    return ready(model).to(dtype)
