"""LAION's CLAP checkpoints as they are laid out, filled with random numbers, and a small roberta-base beside them."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from librosa.filters import mel

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SIZES = {"HTSAT-tiny": (96, (2, 2, 6, 2)), "HTSAT-base": (128, (2, 2, 12, 2)), "HTSAT-large": (256, (2, 2, 12, 2))}
HEADS = (4, 8, 16, 32)
CAPTIONS = [
    "a fast techno beat with a synth lead",
    "a relaxing piano melody with rain sounds",
    "heavy metal guitar riff",
]

Shapes = dict[str, tuple[int, ...]]


def roberta(folder: Path, hidden: int = 768, heads: int = 12) -> Path:
    """One layer of RoBERTa with a byte-level tokenizer, in the files that roberta-base has."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import RobertaConfig, RobertaModel

    folder.mkdir(parents=True)
    tokenizer = ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer.train_from_iterator(CAPTIONS, vocab_size=300, special_tokens=special, show_progress=False)
    tokenizer.save_model(str(folder))
    config = RobertaConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=hidden, num_hidden_layers=1, num_attention_heads=heads,
        intermediate_size=64, max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5,
    )  # fmt: skip
    RobertaModel(config).save_pretrained(folder)
    return folder


def in_cache(home: Path) -> None:
    """The same in a cache of the hub that HF_HOME may name."""
    place = home / "hub" / "models--roberta-base"
    roberta(place / "snapshots" / COMMIT)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(COMMIT)


def layout(
    width: int,
    depths: Sequence[int],
    heads: Sequence[int] = HEADS,
    *,
    pieces: int = 50265,
    hidden: int = 768,
    layers: int = 12,
    inner: int = 3072,
    fusion: bool = False,
) -> Shapes:
    """Every tensor of laion_clap's CLAP with HTSAT and RoBERTa, by name, without `module.`"""
    shapes: Shapes = {"logit_scale_a": (), "logit_scale_t": ()}

    def both(name: str, out: int, *rest: int) -> None:
        shapes.update({f"{name}.weight": (out, *rest), f"{name}.bias": (out,)})

    def counted(name: str, channels: int) -> None:
        both(name, channels)
        shapes.update({f"{name}.{what}": (channels,) for what in ("running_mean", "running_var")})
        shapes[f"{name}.num_batches_tracked"] = ()

    a, t = "audio_branch.", "text_branch."
    shapes |= {f"{a}spectrogram_extractor.stft.conv_{part}.weight": (513, 1, 1024) for part in ("real", "imag")}
    shapes[f"{a}logmel_extractor.melW"] = (513, 64)
    counted(f"{a}bn0", 64)
    both(f"{a}patch_embed.proj", width, 1, 4, 4)
    both(f"{a}patch_embed.norm", width)
    if fusion:
        both(f"{a}patch_embed.mel_conv2d", width, 1, 4, 12)
        for kind, at in (("local", 0), ("global", 1)):
            name = f"{a}patch_embed.fusion_model.{kind}_att"
            both(f"{name}.{at}", width // 4, width, 1, 1)
            counted(f"{name}.{at + 1}", width // 4)
            both(f"{name}.{at + 3}", width, width // 4, 1, 1)
            counted(f"{name}.{at + 4}", width)
    for layer, (depth, head) in enumerate(zip(depths, heads, strict=True)):
        size, patches = width * 2**layer, 64 // 2**layer
        for block in range(depth):
            name = f"{a}layers.{layer}.blocks.{block}"
            if block % 2 and patches > 8:
                shapes[f"{name}.attn_mask"] = ((patches // 8) ** 2, 64, 64)
            both(f"{name}.norm1", size)
            shapes |= {f"{name}.attn.relative_position_bias_table": (225, head)}
            shapes |= {f"{name}.attn.relative_position_index": (64, 64)}
            both(f"{name}.attn.qkv", 3 * size, size)
            both(f"{name}.attn.proj", size, size)
            both(f"{name}.norm2", size)
            both(f"{name}.mlp.fc1", 4 * size, size)
            both(f"{name}.mlp.fc2", size, 4 * size)
        if layer < len(depths) - 1:
            shapes[f"{a}layers.{layer}.downsample.reduction.weight"] = (2 * size, 4 * size)
            both(f"{a}layers.{layer}.downsample.norm", 4 * size)
    out = width * 2 ** (len(depths) - 1)
    both(f"{a}norm", out)
    both(f"{a}tscam_conv", 527, out, 2, 3)
    both(f"{a}head", 527, 527)
    for name, rows in (("word", pieces), ("token_type", 1), ("position", 514)):
        shapes[f"{t}embeddings.{name}_embeddings.weight"] = (rows, hidden)
    both(f"{t}embeddings.LayerNorm", hidden)
    for layer in range(layers):
        name = f"{t}encoder.layer.{layer}"
        for part in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
            both(f"{name}.{part}", hidden, hidden)
        both(f"{name}.intermediate.dense", inner, hidden)
        both(f"{name}.output.dense", hidden, inner)
        both(f"{name}.attention.output.LayerNorm", hidden)
        both(f"{name}.output.LayerNorm", hidden)
    both(f"{t}pooler.dense", hidden, hidden)
    for kind, size in (("text", hidden), ("audio", out)):
        both(f"{kind}_projection.0", 512, size)
        both(f"{kind}_projection.2", 512, 512)
        both(f"{kind}_transform.sequential.0", 512, 512)
        both(f"{kind}_transform.sequential.3", 512, 512)
    return shapes


def randomised(tensors: Mapping[str, torch.Tensor], seed: int = 0) -> dict[str, torch.Tensor]:
    """The same with noise on all that is learnt: biases and norms too, which are zeros and ones before any training."""
    generator = torch.Generator().manual_seed(seed)
    fixed = ("stft", "melW", "attn_mask")
    found = {}
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not any(part in name for part in fixed):
            noise = torch.randn(tensor.shape, generator=generator)
            if name.endswith("running_var"):
                tensor = 1 + 0.3 * noise.abs()
            else:
                tensor = tensor + (0.02 if tensor.ndim > 1 else 0.1) * noise
        found[name] = tensor
    return found


def mel_filters(fmin: float = 50) -> torch.Tensor:
    """The filters `[513, 64]` of LAION's front end, as librosa has them."""
    return torch.from_numpy(mel(sr=48000, n_fft=1024, n_mels=64, fmin=fmin, fmax=14000).T.copy())


def filled(shapes: Shapes) -> dict[str, torch.Tensor]:
    """Random tensors of these shapes, with the mel filters of LAION's front end."""
    whole = ("num_batches_tracked", "relative_position_index")
    dtypes = {name: torch.long if name.endswith(whole) else torch.float32 for name in shapes}
    tensors = randomised({name: torch.zeros(shape, dtype=dtypes[name]) for name, shape in shapes.items()})
    return tensors | {"audio_branch.logmel_extractor.melW": mel_filters()}


def save(path: Path, tensors: Mapping[str, torch.Tensor], positions: bool = True) -> str:
    """A checkpoint as LAION's trainings leave them, NumPy's numbers among them; gives its sha256."""
    state = {f"module.{name}": tensor for name, tensor in tensors.items()}
    if positions:
        state["module.text_branch.embeddings.position_ids"] = torch.arange(514)[None]
    held = {"epoch": 15, "name": "a training", "state_dict": state, "accuracy": np.float64(0.9)}
    torch.save(held | {"optimizer": {"state": {0: torch.zeros(3)}}}, path)
    return hashlib.sha256(path.read_bytes()).hexdigest()
