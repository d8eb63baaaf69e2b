"""Converts a LAION CLAP checkpoint to a directory of transformers' ClapModel, in safetensors, which needs no laion-clap.

Both have the same two networks under different names; HTSAT's queries, keys and values are one matrix there and three here.
Configurations are read from the tensors' shapes, that of RoBERTa from roberta-base, as in laion-clap.
"""

import re
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from musicgen_lite import clap
from musicgen_lite.clap.checkpoint import (
    AUDIO,
    JOINT,
    MEL,
    PATCHES,
    POSITIONS,
    ROBERTA,
    LaionCheckpoint,
    read_checkpoint,
)
from musicgen_lite.clap.hub import CONVERTED
from musicgen_lite.errors import UserError
from musicgen_lite.io.files import atomic_dir, check_place
from musicgen_lite.pretrained import damaged, load_tokenizer, locate

if TYPE_CHECKING:
    import torch
    from transformers import ClapConfig, ClapFeatureExtractor

# laion_clap's names as regular expressions, and transformers' for them.
RENAMED = (
    (r"^text_branch\.", "text_model."),
    (r"^audio_branch\.", "audio_model.audio_encoder."),
    (r"_projection\.0\.", "_projection.linear1."),
    (r"_projection\.2\.", "_projection.linear2."),
    (r"\.bn0\.", ".batch_norm."),
    (r"\.norm1\.", ".layernorm_before."),
    (r"\.norm2\.", ".layernorm_after."),
    (r"\.attn\.proj\.", ".attention.output.dense."),
    (r"\.attn\.relative_position_bias_table$", ".attention.self.relative_position_bias_table"),
    (r"\.mlp\.fc1\.", ".intermediate.dense."),
    (r"\.mlp\.fc2\.", ".output.dense."),
)
QKV, PARTS = ".attn.qkv.", ("query", "key", "value")
# Tensors that embeddings do not need: the spectrogram's constants, position tables and masks, which are rebuilt, the head for
# AudioSet's classes, and layers that only a training loss used.
UNUSED = re.compile(
    r"^audio_branch\.(spectrogram_extractor|logmel_extractor|tscam_conv|head)\."
    r"|\.attn_mask$|\.relative_position_index$|^(audio|text)_transform\."
)
# Buffers that ClapModel builds itself.
BUILT = ("position_ids", "token_type_ids", "relative_position_index")
TEXT_KEYS = (
    "attention_probs_dropout_prob", "bos_token_id", "eos_token_id", "hidden_act", "hidden_dropout_prob", "hidden_size",
    "intermediate_size", "layer_norm_eps", "max_position_embeddings", "num_attention_heads", "num_hidden_layers",
    "pad_token_id", "type_vocab_size", "vocab_size",
)  # fmt: skip
# Equal in all configurations of laion_clap and in no tensor; `extractor_of` checks them by the mel filters.
RATE, WINDOW_S, HOP, FREQUENCIES = 48_000, 10, 480, (50, 14_000)


def convert(
    checkpoint: str | Path, directory: str | Path, trusted: Collection[str] = (), roberta: str = ROBERTA
) -> str:
    """Write a LAION checkpoint as a directory that `clap.load` takes; gives its fingerprint.

    trusted: sha256 of checkpoints beside the known ones; roberta: a directory or hub name with the configuration and
    the tokenizer of roberta-base. Raises UserError where the directory is there already, the checkpoint is refused (see
    `read_checkpoint`), or has other tensors than the architecture of its shapes.
    """
    directory = Path(directory)
    if directory.exists():
        raise UserError(f"{directory}: exists already; name a new directory")
    check_place(directory)
    found = read_checkpoint(Path(checkpoint), "checkpoint", trusted, "--sha256")
    source = locate(roberta, "--roberta", {}, small=True)
    tokenizer = load_tokenizer(source)
    found.check_vocabulary(tokenizer)
    from transformers import AutoConfig, ClapModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        text = AutoConfig.from_pretrained(source.folder)
        config = config_of(found, {key: getattr(text, key) for key in TEXT_KEYS})
    except (AttributeError, OSError, ValueError) as error:
        raise damaged(error, source) from error
    extractor, model = extractor_of(found), ClapModel(config)
    fill(model, found)
    with atomic_dir(directory) as part:
        model.save_pretrained(part)
        extractor.save_pretrained(part)
        tokenizer.save_pretrained(part)
        return clap.load(str(part)).fingerprint


def config_of(checkpoint: LaionCheckpoint, text: dict[str, Any]) -> "ClapConfig":
    """ClapModel's configuration from the shapes of a checkpoint; text: RoBERTa's configuration."""
    from transformers import ClapConfig

    tensors = checkpoint.tensors
    width, _, patch, _ = tensors[PATCHES].shape
    blocks = [re.match(rf"{AUDIO}layers\.(\d+)\.blocks\.\d+\.norm1\.weight", name) for name in tensors]
    depths = Counter(int(block[1]) for block in blocks if block)
    tables = [tensors[POSITIONS.format(layer=layer)] for layer in sorted(depths)]
    dim = int(tensors[JOINT].shape[0])
    audio = {
        "patch_embeds_hidden_size": int(width),
        "patch_size": int(patch),
        "depths": [depths[layer] for layer in sorted(depths)],
        "num_attention_heads": [int(table.shape[1]) for table in tables],
        "hidden_size": int(width) * 2 ** (len(depths) - 1),
        "num_hidden_layers": len(depths),
        # A window of w x w patches has (2 w - 1)^2 relative positions.
        "window_size": (round(tables[0].shape[0] ** 0.5) + 1) // 2,
        "num_mel_bins": int(tensors[MEL].shape[1]),
        "enable_fusion": checkpoint.fusion,
        "fusion_type": "aff_2d" if checkpoint.fusion else None,
    }
    origin = {CONVERTED: checkpoint.sha256}
    return ClapConfig(text_config={**text, "projection_dim": dim}, audio_config=audio, projection_dim=dim, **origin)


def extractor_of(checkpoint: LaionCheckpoint) -> "ClapFeatureExtractor":
    """The feature extractor with the spectrograms that a checkpoint was trained on.

    Raises UserError where its mel filters differ from those of the checkpoint.
    """
    from transformers import ClapFeatureExtractor

    held = checkpoint.tensors[MEL].numpy()
    low, high = FREQUENCIES
    extractor = ClapFeatureExtractor(
        feature_size=held.shape[1], sampling_rate=RATE, hop_length=HOP, max_length_s=WINDOW_S,
        fft_window_size=checkpoint.fft, frequency_min=low, frequency_max=high, padding="repeatpad",
        truncation="fusion" if checkpoint.fusion else "rand_trunc",
    )  # fmt: skip
    made = extractor.mel_filters_slaney
    if made.shape != held.shape or not np.allclose(made, held, atol=1e-6):
        raise UserError(
            f"{checkpoint.path}: {MEL} holds other filters than {held.shape[1]} mel bands of {low} to {high} Hz at {RATE} Hz, "
            "which all LAION checkpoints have; no feature extractor of transformers is known to fit it"
        )
    return extractor


def fill(model: Any, checkpoint: LaionCheckpoint) -> None:
    """Load the weights of a checkpoint into a ClapModel. Raises UserError for extra, missing or misshapen tensors."""
    state: dict[str, torch.Tensor] = {}
    for name, tensor in checkpoint.tensors.items():
        if UNUSED.search(name):
            continue
        new = name
        for pattern, text in RENAMED:
            new = re.sub(pattern, text, new)
        if QKV in new:
            state |= {
                new.replace(QKV, f".attention.self.{part}."): rows
                for part, rows in zip(PARTS, tensor.chunk(3), strict=True)
            }
        else:
            state[new] = tensor
    try:
        missing, unexpected = model.load_state_dict(state, strict=False)
    except RuntimeError as error:  # names the shapes that differ
        raise UserError(f"{checkpoint.path}: not the architecture of its shapes: {error}") from error
    missing = [name for name in missing if not name.endswith(BUILT)]
    if missing or unexpected:
        first = f"no {missing[0]}" if missing else f"{unexpected[0]} in addition"
        raise UserError(
            f"{checkpoint.path}: no known LAION CLAP, it has {first} "
            f"({len(missing)} tensors are missing, {len(unexpected)} are extra)"
        )
