"""The model that a training starts from: found by the name in `train.init`, and held against the parameters."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from musicgen_lite.errors import UserError
from musicgen_lite.io.hashing import SHORT, file_sha256, files_in, short_digest
from musicgen_lite.params import Params, TrackingParams
from musicgen_lite.pretrained import Source, shipped
from musicgen_lite.pretrained import locate as locate_published

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

    def describe(self) -> "tuple[ModelConfig, Mapping[str, str]]":
        """The model's config, and the names of the codec and the text encoder that it was trained with; as `load`."""
        model, extra = self.load()
        return model.config, extra.get("names", {})

    def load(self) -> "tuple[LanguageModel, dict[str, Any]]":
        """The model and what its file says of it; UserError where it is damaged or no model of this project."""
        from musicgen_lite import models

        try:
            return models.load(self.path)
        except UserError as error:
            raise UserError(f"{PARAMETER} {self.name!r}: {error}") from error


@dataclass(frozen=True)
class Checkpoint(Initial):
    """A published MusicGen to start from: `path` is the folder of its files, `sha256` a digest of them or the hub's commit.

    max_text, trusted: as of `published.load`.
    """

    source: Source
    max_text: int
    trusted: tuple[str, ...]

    @property
    def label(self) -> str:
        """The name with the hub's commit, or the beginning of the digest of a directory."""
        return self.source.pinned if self.source.revision else super().label

    def describe(self) -> "tuple[ModelConfig, Mapping[str, str]]":
        """As of a file; the weights of the language model are not read."""
        from musicgen_lite import published

        found = published.read(self.source.pinned, max_text=self.max_text, trusted=self.trusted, parameter=PARAMETER)
        return found.config, {"codec": found.codec.name, "text": found.text.name}

    def load(self) -> "tuple[LanguageModel, dict[str, Any]]":
        """The model, and the names of its codec and its text encoder."""
        from musicgen_lite import published

        found = published.load(self.source.pinned, max_text=self.max_text, trusted=self.trusted, parameter=PARAMETER)
        return found.model, {"names": {"codec": found.codec.name, "text": found.text.name}}


def locate(params: Params, root: Path, of_run: RunFile) -> Initial | None:
    """The model that `train.init` names; None where it is empty, and for a model of others that is not trained.

    A relative path starts at `root`. `of_run(tracking, root, name)` gives the file of an MLflow run, named by its name or id, or
    of a version of its registry.
    UserError where there is no such file, run or published model, and where this version ships no such model.
    """
    name = params.train.init
    if not name or not params.trained:
        return None
    if params.model.type == "musicgen" and _is_published(name, root):
        return _checkpoint(params, root)
    try:
        path = _path(params, root, of_run)
    except UserError as error:
        musicgen = params.model.type == "musicgen"
        nothing = "model.musicgen.name as it is" if musicgen else "random weights"
        published = (
            ", or a directory or OWNER/NAME of the hub"
            if musicgen
            else "; a published MusicGen needs model.type=musicgen"
        )
        raise UserError(
            f"{PARAMETER} {name!r}: {error}; allowed are nothing ({nothing}), shipped, a path that ends in .safetensors, the name "
            f"or id of a finished MLflow run, and models:/NAME@ALIAS or models:/NAME/VERSION{published}"
        ) from error
    return Initial(name, path, file_sha256(path))


def _is_published(name: str, root: Path) -> bool:
    """Whether a name is that of a directory, or may be one of the hub."""
    path = root / Path(name).expanduser()
    if path.exists() or name.startswith("models:/") or path.suffix == ".safetensors":
        return path.is_dir()
    return "/" in name


def _checkpoint(params: Params, root: Path) -> Checkpoint:
    """The published MusicGen that `train.init` names, fetched if it is not here."""
    name, trusted = params.train.init, params.trusted_pickles
    path = root / Path(name).expanduser()
    source = locate_published(str(path) if path.is_dir() else name, PARAMETER, {}, trusted)
    contents = [(file.relative_to(source.folder).as_posix(), file) for file in files_in([source.folder])]
    digest = source.revision or short_digest({place: file_sha256(file) for place, file in contents})
    return Checkpoint(name, source.folder, digest, source, params.text.max_tokens, trusted)


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
        return f"set {parameter} to {own / found.frame_rate:.9g}"  # so that it is these frames at any frame rate
    return f"set {parameter} to {str(own).lower()}"
