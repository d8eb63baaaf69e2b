"""Text-to-audio pipelines of diffusers' own classes with a few thousand random weights, as directories.

AudioLDM's kind makes mono at 8 kHz, Stable Audio stereo at 11.025 kHz.
"""

import string
from pathlib import Path
from typing import Any

import torch

LDM_RATE, STABLE_RATE, LONGEST_S = 8000, 11025, 3.0
TEXT, CLAP, T5, LANGUAGE = 32, 16, 16, 16  # most tokens of a text, and widths


def roberta_tokenizer() -> Any:
    """A tokenizer of single bytes."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import RobertaTokenizer

    pieces = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *sorted(ByteLevel.alphabet())]
    return RobertaTokenizer(
        vocab={piece: number for number, piece in enumerate(pieces)}, merges=[], model_max_length=TEXT
    )


def t5_tokenizer() -> Any:
    """A tokenizer of single letters."""
    from transformers import T5Tokenizer

    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *((one, -3.0) for one in string.printable)]
    return T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=TEXT)


def t5() -> Any:
    from transformers import T5Config, T5EncoderModel

    return T5EncoderModel(
        T5Config(vocab_size=len(t5_tokenizer()), d_model=T5, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
    ).eval()


def clap_config() -> Any:
    from transformers import ClapConfig

    size = len(roberta_tokenizer())
    text = {
        "vocab_size": size, "hidden_size": CLAP, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
        "max_position_embeddings": TEXT + 8, "projection_dim": CLAP,
    }  # fmt: skip
    audio = {
        "spec_size": 64, "window_size": 4, "hidden_size": 16, "patch_embeds_hidden_size": 8, "depths": [1, 1],
        "num_attention_heads": [1, 1], "num_hidden_layers": 2, "projection_dim": CLAP,
    }  # fmt: skip
    return ClapConfig(text_config=text, audio_config=audio, projection_dim=CLAP)


def vae() -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        in_channels=1, out_channels=1, latent_channels=4, block_out_channels=(8, 16), norm_num_groups=8,
        down_block_types=("DownEncoderBlock2D", "DownEncoderBlock2D"),
        up_block_types=("UpDecoderBlock2D", "UpDecoderBlock2D"),
    ).eval()  # fmt: skip


def vocoder() -> Any:
    from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

    return SpeechT5HifiGan(
        SpeechT5HifiGanConfig(
            model_in_dim=8, sampling_rate=LDM_RATE, upsample_initial_channel=16, upsample_rates=[8, 8],
            upsample_kernel_sizes=[16, 16], resblock_kernel_sizes=[3], resblock_dilation_sizes=[[1, 3]],
            normalize_before=False, initializer_range=0.2,
        )
    ).eval()  # fmt: skip


def unet(**options: Any) -> dict[str, Any]:
    """What both of AudioLDM's networks take."""
    return {
        "sample_size": 32, "in_channels": 4, "out_channels": 4, "block_out_channels": (8, 16), "layers_per_block": 1,
        "norm_num_groups": 8, "attention_head_dim": 8, "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"), **options,
    }  # fmt: skip


def of_class() -> dict[str, Any]:
    """AudioLDM's and MusicLDM's network, which reads its text as a class."""
    from diffusers import UNet2DConditionModel

    return {
        "unet": UNet2DConditionModel(
            **unet(
                cross_attention_dim=16, class_embed_type="simple_projection", class_embeddings_concat=True,
                projection_class_embeddings_input_dim=CLAP,
            )
        ).eval(),
        "scheduler": ldm_scheduler(), "vae": vae(), "vocoder": vocoder(), "tokenizer": roberta_tokenizer(),
    }  # fmt: skip


def ldm_scheduler() -> Any:
    from diffusers import DDIMScheduler

    return DDIMScheduler(beta_start=0.0015, beta_end=0.0195, beta_schedule="scaled_linear", clip_sample=False)


def audioldm() -> Any:
    from diffusers import AudioLDMPipeline
    from transformers import ClapTextModelWithProjection

    return AudioLDMPipeline(text_encoder=ClapTextModelWithProjection(clap_config().text_config).eval(), **of_class())


def musicldm() -> Any:
    from diffusers import MusicLDMPipeline
    from transformers import ClapFeatureExtractor, ClapModel

    return MusicLDMPipeline(
        text_encoder=ClapModel(clap_config()).eval(), feature_extractor=ClapFeatureExtractor(), **of_class()
    )


def audioldm2(headless: bool = False) -> Any:
    """`headless`: with a bare GPT2Model, as it was published."""
    from diffusers import AudioLDM2Pipeline, AudioLDM2ProjectionModel, AudioLDM2UNet2DConditionModel
    from transformers import ClapFeatureExtractor, ClapModel, GPT2Config, GPT2LMHeadModel

    whole = GPT2LMHeadModel(GPT2Config(vocab_size=8, n_positions=128, n_embd=LANGUAGE, n_layer=1, n_head=2)).eval()
    whole.config.max_new_tokens = 4
    return AudioLDM2Pipeline(
        text_encoder=ClapModel(clap_config()).eval(), text_encoder_2=t5(), tokenizer=roberta_tokenizer(),
        tokenizer_2=t5_tokenizer(), feature_extractor=ClapFeatureExtractor(), vae=vae(), vocoder=vocoder(),
        projection_model=AudioLDM2ProjectionModel(CLAP, T5, LANGUAGE).eval(),
        language_model=whole.transformer if headless else whole,
        unet=AudioLDM2UNet2DConditionModel(**unet(cross_attention_dim=(LANGUAGE, T5))).eval(), scheduler=ldm_scheduler(),
    )  # fmt: skip


def stable_audio() -> Any:
    from diffusers import (
        AutoencoderOobleck,
        CosineDPMSolverMultistepScheduler,
        StableAudioDiTModel,
        StableAudioPipeline,
        StableAudioProjectionModel,
    )

    coder = AutoencoderOobleck(
        encoder_hidden_size=4, downsampling_ratios=[7, 7, 9], channel_multiples=[1, 1, 1], decoder_channels=4,
        decoder_input_channels=4, audio_channels=2, sampling_rate=STABLE_RATE,
    )  # fmt: skip
    network = StableAudioDiTModel(
        sample_size=round(LONGEST_S * STABLE_RATE / coder.hop_length), in_channels=4, out_channels=4, num_layers=1,
        attention_head_dim=8, num_attention_heads=2, num_key_value_attention_heads=1, cross_attention_dim=16,
        cross_attention_input_dim=T5, global_states_input_dim=2 * T5, time_proj_dim=8,
    )  # fmt: skip
    return StableAudioPipeline(
        vae=coder.eval(), text_encoder=t5(), projection_model=StableAudioProjectionModel(T5, T5, 0, 512).eval(),
        tokenizer=t5_tokenizer(), transformer=network.eval(), scheduler=CosineDPMSolverMultistepScheduler(),
    )  # fmt: skip


KINDS = {"audioldm": audioldm, "audioldm2": audioldm2, "musicldm": musicldm, "stable-audio": stable_audio}


def save(folder: Path, kind: str, seed: int = 0, **options: Any) -> Path:
    """A random pipeline of one kind as a directory."""
    torch.manual_seed(seed)
    KINDS[kind](**options).save_pretrained(folder)
    return folder
