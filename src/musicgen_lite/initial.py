"""The model that a training starts from: found by the name in `train.init`, and held against the parameters."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from musicgen_lite.errors import UserError
from musicgen_lite.io.hashing import SHORT, file_sha256
from musicgen_lite.params import Params, TrackingParams
from musicgen_lite.pretrained import shipped

if TYPE_CHECKING:  # torch takes seconds to load
    from musicgen_lite.models import LanguageModel, ModelConfig

PARAMETER, SHIPPED = "train.init", "shipped"
# The parameters behind a model's config, where they are not those of the section of its type.
PARAMETERS = {
    "type": "model.type", "pattern": "model.pattern", "num_codebooks": "codec.num_codebooks", "codec": "codec.name",
    "text": "text.name", "max_text": "text.max_tokens", "max_frames": "train.crop_seconds",
    "max_prompt_frames": "data.prompt_seconds",
}  # fmt: skip
# Dropout is of the training; the others follow from the fingerprints of codec and text encoder.
NOT_COMPARED = ("dropout", "codebook_size", "frame_rate", "rate", "text_dim")
FRAMES = ("max_frames", "max_prompt_frames")
LENGTHS = ("max_text", *FRAMES)
RunFile = Callable[[TrackingParams, Path, str], Path]


@dataclass(frozen=True)
class Initial:
    """A model to start from: what the user called it, its file, and the sha256 of that."""

    name: str
    path: Path
    sha256: str

    @property
    def label(self) -> str:
        """The name with the beginning of the digest."""
        return f"{self.name}, sha256 {self.sha256[:SHORT]}"

    def load(self) -> "tuple[LanguageModel, dict[str, Any]]":
        """The model and what its file says of it; UserError where it is damaged or no model of this project."""
        from musicgen_lite import models

        try:
            return models.load(self.path)
        except UserError as error:
            raise UserError(f"{PARAMETER} {self.name!r}: {error}") from error


def locate(params: Params, root: Path, of_run: RunFile) -> Initial | None:
    """The model that `train.init` names; None where it is empty, and for a model of others, which is not trained.

    A relative path starts at `root`. `of_run(tracking, root, name)` gives the file of an MLflow run, named by its name or id, or
    of a version of its registry.
    UserError where there is no such file or run, and where this version ships no such model.
    """
    name = params.train.init
    if not name or not params.model.trained:
        return None
    try:
        path = _path(params, root, of_run)
    except UserError as error:
        raise UserError(
            f"{PARAMETER} {name!r}: {error}; allowed are nothing (random weights), shipped, a path that ends in "
            ".safetensors, the name or id of a finished MLflow run, and models:/NAME@ALIAS or models:/NAME/VERSION"
        ) from error
    return Initial(name, path, file_sha256(path))


def _path(params: Params, root: Path, of_run: RunFile) -> Path:
    name = params.train.init
    if name == SHIPPED:
        return shipped.model_file(params.model.type, shipped.ROOT)
    if name.startswith("models:/"):
        return of_run(params.tracking, root, name)
    path = root / Path(name).expanduser()
    if path.is_file():
        return path
    if "/" in name or path.suffix == ".safetensors" or path.is_dir():
        raise UserError(f"{path} is a folder" if path.is_dir() else f"there is no file {path}")
    return of_run(params.tracking, root, name)


def check_fits(
    initial: Initial, found: "ModelConfig", wanted: "ModelConfig", names: Mapping[str, str], steps: int
) -> None:
    """Raise UserError, naming each parameter that differs, unless a model like `found` can be trained on as one like `wanted`.

    names: those of the codec and the text encoder that it was trained with. It may be made for longer captions and audio
    prompts and, unless positions are learned, for clips of another length: longer ones where it is not trained (`steps` 0).
    """
    lines = [
        f"  {_parameter(name, wanted)}: the model has {_shown(name, found)}, here it is {_shown(name, wanted)}; "
        f"{_remedy(name, found, names)}, or name another model"
        for name in _differing(found, wanted, steps)
    ]
    if lines:
        raise UserError("\n".join([f"{PARAMETER} {initial.name!r} ({initial.path}) is another kind of model:", *lines]))


def _differing(found: "ModelConfig", wanted: "ModelConfig", steps: int) -> list[str]:
    """The fields of the config that differ and must not; of those that one difference explains, that one."""
    if found.type != wanted.type:
        return ["type"]
    names = [field.name for field in fields(found) if getattr(found, field.name) != getattr(wanted, field.name)]
    differing = [name for name in names if name not in NOT_COMPARED and not _length_fits(name, found, wanted, steps)]
    return [name for name in differing if name != "codec" or "num_codebooks" not in differing]


def _length_fits(name: str, found: "ModelConfig", wanted: "ModelConfig", steps: int) -> bool:
    if name == "max_frames" and found.positions == "learned":
        return False
    if (name == "max_prompt_frames" and found.type != "b") or (name == "max_frames" and steps):
        return True
    return name in LENGTHS and getattr(found, name) > getattr(wanted, name)


def _shown(name: str, config: "ModelConfig") -> str:
    value = getattr(config, name)
    return f"{value / config.frame_rate:g} s" if name in FRAMES else repr(value)


def _parameter(name: str, wanted: "ModelConfig") -> str:
    return PARAMETERS.get(name, f"model.{wanted.type}.{name}")


def _remedy(name: str, found: "ModelConfig", names: Mapping[str, str]) -> str:
    parameter, own = _parameter(name, found), getattr(found, name)
    if name in ("codec", "text"):
        return f"its name there was {names.get(name, 'not noted')}, and {shipped.remedy(parameter, own)}"
    if name == "max_text":
        return f"set {parameter} to at most {own}"
    if name in FRAMES:
        return f"set {parameter} to {own / found.frame_rate:g}"
    return f"set {parameter} to {str(own).lower()}"
