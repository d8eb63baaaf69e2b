"""PaSST and audiobox-aesthetics by their own packages with random weights, small ones where the size decides nothing."""

import contextlib
import io
from pathlib import Path
from typing import Any

import pytest
import torch
from audiobox_aesthetics.model import aes
from hear21passt import base, wrapper
from hear21passt.models import passt as package

from musicgen_lite.io.hashing import file_sha256
from musicgen_lite.scoring.audio import passt
from musicgen_lite.scoring.audio.passt import Passt

TARGET = {axis: {"mean": 5.0 + i, "std": 0.5 + i} for i, axis in enumerate(aes.AXES_NAME)}
HEADS = {
    "proj_num_layer": 2, "proj_ln": True, "proj_act_fn": "gelu", "proj_dropout": 0, "nth_layer": 3,
    "use_weighted_layer_sum": True, "precision": "32", "normalize_embed": True, "output_dim": 1,
}  # fmt: skip
SMALL = {
    "encoder_layers": 2, "encoder_embed_dim": 32, "encoder_ffn_embed_dim": 64, "encoder_attention_heads": 4,
    "conv_feature_layers": "[(16,10,5)] + [(16,3,2)] * 4 + [(16,2,2)] * 2", "conv_pos": 16, "conv_pos_groups": 4,
}  # fmt: skip


def randomised(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """The module with weights that make different inputs differ: initial ones are near zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
    return module.eval()


def quiet_passt(**sizes: Any) -> Any:
    """A PaSST of the package: of its default size, or of `sizes`."""
    with contextlib.redirect_stdout(io.StringIO()):
        if not sizes:
            return randomised(base.get_model_passt(arch=passt.ARCHITECTURE, pretrained=False))
        return randomised(package.PaSST(stride=(10, 10), distilled=True, **sizes))


def shallow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the package build the published architecture with one of its twelve layers, whoever asks for it."""

    def build(pretrained: bool = False, **sizes: Any) -> Any:
        return package._create_vision_transformer(
            passt.ARCHITECTURE, pretrained, distilled=True, patch_size=16, embed_dim=768, depth=1, num_heads=12, **sizes
        )

    monkeypatch.setattr(package, passt.ARCHITECTURE, build)


def small_passt() -> Passt:
    """The scorer with a network of one narrow layer."""
    with contextlib.redirect_stdout(io.StringIO()):
        mel = base.AugmentMelSTFT(fmin_aug_range=10, fmax_aug_range=2000, norm=1)
    net = quiet_passt(embed_dim=24, depth=1, num_heads=2)
    return Passt(wrapper.PasstBasicWrapper(mel=mel, net=net, mode="logits").eval(), {"name": "small"})


def save_passt(path: Path) -> str:
    """Write weights of the published architecture; returns their sha256."""
    torch.save(quiet_passt().state_dict(), path)
    return file_sha256(path)


def save_aesthetics(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a small model as the hub has the published one, and beside it the same as the checkpoint of the package's command."""
    config = type(aes.DEFAULT_AUDIO_CFG)({**vars(aes.DEFAULT_AUDIO_CFG), **SMALL})
    monkeypatch.setattr(aes, "DEFAULT_AUDIO_CFG", config)
    model = randomised(aes.AesMultiOutput(**HEADS, target_transform=TARGET))
    model.save_pretrained(folder)  # type: ignore[operator]
    state = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    torch.save({"state_dict": state, "model_cfg": HEADS, "target_transform": TARGET}, folder / "checkpoint.pt")
    return folder


def save_published_aesthetics(folder: Path) -> None:
    """Write a model of the published size."""
    model = randomised(aes.AesMultiOutput(**{**HEADS, "nth_layer": 13}, target_transform=TARGET))
    model.save_pretrained(folder)  # type: ignore[operator]
