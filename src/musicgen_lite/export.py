"""A model as a folder: safetensors, config.json and a model card, which `load` takes, and by its name once it is on the hub."""

import shutil
from pathlib import Path
from typing import Any

from musicgen_lite import __version__
from musicgen_lite.errors import UserError
from musicgen_lite.io.files import atomic_dir, check_place, write_json, write_text
from musicgen_lite.model_facts import ModelFacts
from musicgen_lite.pretrained import CONFIG, SAFE, locate, read_config

MODEL_TYPE = "musicgen-lite"  # by which an exported model is known among those of transformers
CARD = "README.md"


def find(name: str, parameter: str) -> Path | None:
    """The model file of an exported model, a directory or a name of the hub; None where it is a model of another type.

    Raises UserError, naming the `parameter`, where there is no model of that name.
    """
    if read_config(locate(name, parameter, {}, small=True)).get("model_type") != MODEL_TYPE:
        return None
    return locate(name, parameter, {}).folder / SAFE[0]


def config(facts: ModelFacts) -> dict[str, Any]:
    """What config.json holds: the model's config, with what its file says of the training."""
    known = {"model_type": MODEL_TYPE, "musicgen_lite_version": __version__, "sampling_rate": facts.config["rate"]}
    return {**facts.config, **known, "names": facts.names, "training": dict(facts.extra)}


def check_folder(folder: Path) -> None:
    """Raise UserError where a model would be written over something, or nothing can be written."""
    if folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"{folder}: this folder is not empty, and is kept; name another, or move it")
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: there is a file of this name, which is kept; name another folder")
    check_place(folder / CARD)


def write(folder: Path, model: Path, facts: ModelFacts, card: str) -> None:
    """Write the folder, whole or not at all. UserError for one that is not empty."""
    check_folder(folder)
    with atomic_dir(folder) as part:
        shutil.copyfile(model, part / SAFE[0])
        write_json(part / CONFIG, config(facts))
        write_text(part / CARD, card)


def write_transformers(folder: Path, model: Path, card: str) -> None:
    """Write the folder in the format of transformers' MusicGen, codec and text encoder included; as `write`.

    UserError for a model of another type; see `published.write`.
    """
    from musicgen_lite import published

    check_folder(folder)
    with atomic_dir(folder) as part:
        published.write(part, model)
        write_text(part / CARD, card)
