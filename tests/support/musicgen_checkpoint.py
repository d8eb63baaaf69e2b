"""A MusicGen directory as transformers writes one: a small random decoder around the shipped codec and text encoder."""

from pathlib import Path
from typing import Any

import torch

from musicgen_lite.published import ready


def build(seed: int = 0, scale: float = 5.0, **decoder: Any) -> Any:
    """A MusicgenForConditionalGeneration in eval mode; the decoder's weights are `scale` times larger than usual."""
    from transformers import EncodecModel, MusicgenForCausalLM, MusicgenForConditionalGeneration, T5EncoderModel
    from transformers.models.musicgen.configuration_musicgen import MusicgenDecoderConfig

    from musicgen_lite.pretrained import shipped

    codec = EncodecModel.from_pretrained(shipped.path("codec"), dtype=torch.float32)
    text = T5EncoderModel.from_pretrained(shipped.path("text"), dtype=torch.float32)
    special = codec.config.codebook_size
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "ffn_dim": 128, **decoder}
    torch.manual_seed(seed)
    model = MusicgenForConditionalGeneration(
        text_encoder=text, audio_encoder=codec,
        decoder=MusicgenForCausalLM(
            MusicgenDecoderConfig(vocab_size=special, pad_token_id=special, bos_token_id=special, **sizes)
        ),
    )  # fmt: skip
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.startswith(("decoder.", "enc_to_dec_proj.")) and "norm" not in name:
                parameter.mul_(scale)
        for layer in model.decoder.model.decoder.layers:  # as strong as in a model that was trained with captions
            layer.encoder_attn.v_proj.weight.mul_(scale)
        if hasattr(model, "enc_to_dec_proj"):
            model.enc_to_dec_proj.bias.normal_()
    return ready(model)


def save(folder: Path, model: Any, **options: Any) -> Path:
    """`model` and its tokenizer as a directory; `options` are those of save_pretrained."""
    from transformers import AutoTokenizer

    from musicgen_lite.pretrained import shipped

    model.save_pretrained(folder, **options)
    AutoTokenizer.from_pretrained(shipped.path("text")).save_pretrained(folder)
    return folder
