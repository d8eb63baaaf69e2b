"""The language models over EnCodec tokens, and their files."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from musicgen_lite.errors import UserError
from musicgen_lite.io.files import atomic_path
from musicgen_lite.models.core.base import LanguageModel
from musicgen_lite.models.core.conditions import Conditions
from musicgen_lite.models.core.config import ModelConfig

__all__ = ["Conditions", "LanguageModel", "ModelConfig", "build", "load", "save"]

HEADER = "musicgen-lite"


def build(config: ModelConfig) -> LanguageModel:
    """A new model of the config's type, its weights drawn from torch's global generator."""
    if config.type == "a":
        from musicgen_lite.models.a import PrefixModel

        return PrefixModel(config)
    if config.type == "b":
        from musicgen_lite.models.b import CrossModel

        return CrossModel(config)
    from musicgen_lite.models.musicgen import MusicGenModel

    return MusicGenModel(config)


def save(path: str | Path, model: LanguageModel, extra: dict[str, Any] | None = None) -> None:
    """Write weights, config and `extra` (anything JSON holds) into one safetensors file, atomically.

    Equal models give equal bytes: all metadata is one entry, since safetensors does not keep the order of several.
    """
    header = json.dumps({"config": model.config.to_dict(), "extra": extra or {}}, sort_keys=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with atomic_path(path) as part:
        save_file(tensors, part, metadata={HEADER: header})


def load(path: str | Path, device: torch.device | str = "cpu") -> tuple[LanguageModel, dict[str, Any]]:
    """Read what `save` wrote; the model is in eval mode.

    UserError for a file that is missing, truncated, not a safetensors file, or not a model of this project.
    """
    if not Path(path).is_file():
        raise UserError(f"{path}: there is no model file; train one with `dvc repro train` or give another path")
    try:
        with safe_open(path, framework="pt") as file:
            header = (file.metadata() or {}).get(HEADER)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{path}: not a whole safetensors file ({error}); it was cut off or is another format: copy or train it again"
        ) from error
    if header is None:
        raise UserError(
            f"{path}: a safetensors file, but not a model of this project (no {HEADER!r} entry in its metadata); "
            "give a file that the train stage wrote"
        )
    try:
        content = json.loads(header)
        model = build(ModelConfig.from_dict(content["config"]))
        model.load_state_dict(tensors)
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        raise UserError(
            f"{path}: the weights and the config inside do not fit this version of the project ({error}); "
            "train the model again, or use the version that wrote it"
        ) from error
    return model.to(device).eval(), content["extra"]
