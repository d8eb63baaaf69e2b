"""The typed, frozen tree of params.yaml.

Everything is checked here, before anything runs: an unknown key is named with the nearest right one, a wrong value
with what is allowed.
"""

import difflib
import re
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from ruamel.yaml import YAML, YAMLError

from musicgen_lite.errors import UserError

Fraction = Field(ge=0.0, lt=1.0)
Positive = Field(gt=0)
Count = Field(ge=1)


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ComputeParams(Section):
    device: Literal["auto", "cpu", "cuda"]
    threads: int = Field(ge=0)


class SyntheticParams(Section):
    seed: int = Field(ge=0, lt=4_000_000)
    train: int = Count
    validation: int = Count
    test: int = Count


class FolderParams(Section):
    path: str
    validation_fraction: float = Fraction
    test_fraction: float = Fraction


class MusicCapsParams(Section):
    csv: str
    dataset: str = Field(min_length=1)
    revision: str = Field(min_length=1)
    validation_fraction: float = Fraction
    split_seed: int = Field(ge=0)
    cache: str = Field(min_length=1)
    url: str
    workers: int = Field(ge=1, le=64)
    pause_s: float = Field(ge=0.0)
    attempts: int = Count
    options: dict[str, Any]
    retry_gone: bool

    @field_validator("url")
    @classmethod
    def _url_takes_an_id(cls, url: str) -> str:
        if "{ytid}" not in url:
            raise ValueError(f"found {url!r}; it must hold {{ytid}}, where a video's id goes")
        return url


class DataParams(Section):
    source: Literal["synthetic", "folder", "musiccaps"]
    rate: int = Field(ge=8000, le=192000)
    seconds: float = Positive
    min_seconds: float | None = Field(ge=0.5)
    prompt_seconds: float = Positive
    min_available: int = Count
    synthetic: SyntheticParams
    folder: FolderParams
    musiccaps: MusicCapsParams

    @property
    def shortest(self) -> float:
        """The length in seconds from which on a clip is kept."""
        return self.seconds if self.min_seconds is None else self.min_seconds

    @property
    def target_seconds(self) -> float:
        """Length of the target, which follows the audio prompt."""
        return self.seconds - self.prompt_seconds

    @model_validator(mode="after")
    def _prompt_leaves_a_target(self) -> "DataParams":
        if self.prompt_seconds >= self.seconds:
            raise ValueError(f"prompt_seconds ({self.prompt_seconds:g}) must be less than seconds ({self.seconds:g})")
        if self.shortest > self.seconds:
            raise ValueError(f"min_seconds ({self.shortest:g}) must not exceed seconds ({self.seconds:g})")
        return self


class CodecParams(Section):
    name: str = Field(min_length=1)
    num_codebooks: int = Field(ge=1, le=32)
    batch_size: int = Count


class TextParams(Section):
    name: str = Field(min_length=1)
    max_tokens: int = Field(ge=1, le=512)
    variants: tuple[Literal["caption", "aspects", "both", "shuffled"], ...] = Field(strict=False, min_length=1)
    batch_size: int = Count

    @field_validator("variants")
    @classmethod
    def _each_once(cls, variants: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(variants)) < len(variants):
            raise ValueError(f"found {', '.join(variants)}; each is allowed once")
        return variants


class DecoderParams(Section):
    """Sizes of a decoder: `d_model` must be a multiple of `heads`."""

    d_model: int = Count
    layers: int = Count
    heads: int = Count
    dropout: float = Fraction
    positions: Literal["sinusoidal", "learned"]

    @model_validator(mode="after")
    def _heads_divide(self) -> "DecoderParams":
        if self.d_model % (2 * self.heads):
            raise ValueError(f"d_model ({self.d_model}) must be an even multiple of heads ({self.heads})")
        return self


class AParams(DecoderParams):
    pass


class BParams(DecoderParams):
    dropout_audio: float = Fraction


class MusicgenParams(Section):
    """A published model, which is not trained."""

    name: str = Field(min_length=1)


class ModelParams(Section):
    type: Literal["a", "b", "musicgen"]
    pattern: Literal["interleaved", "delay", "parallel"]
    dropout_text: float = Fraction
    a: AParams
    b: BParams
    musicgen: MusicgenParams

    @property
    def decoder(self) -> AParams | BParams:
        """The sizes of the model to train; ValueError where the chosen one is not trained."""
        chosen = getattr(self, self.type)
        if not isinstance(chosen, AParams | BParams):
            raise ValueError(f"model.type {self.type} is published as it is, and has no sizes to choose")
        return chosen

    @model_validator(mode="after")
    def _musicgen_is_delayed(self) -> "ModelParams":
        if self.type == "musicgen" and self.pattern != "delay":
            raise ValueError(
                f"pattern: found {self.pattern!r}; MusicGen predicts in the pattern delay, and in no other"
            )
        return self


class TrainParams(Section):
    steps: int = Count
    effective_batch_size: int = Count
    batch_size: int | Literal["auto"]
    crop_seconds: float = Positive
    learning_rate: float = Positive
    betas: tuple[float, float] = Field(strict=False)
    weight_decay: float = Field(ge=0.0)
    warmup_fraction: float = Fraction
    min_lr_ratio: float = Field(ge=0.0, le=1.0)
    clip_norm: float = Positive
    precision: Literal["auto", "16-mixed", "bf16-mixed", "32"]
    ema_decay: float = Fraction
    validations: int = Count
    keep_best: int = Count
    patience: int = Field(ge=0)
    preview_every: int = Field(ge=0)
    devices: int = Count
    num_nodes: int = Count
    strategy: str

    @field_validator("batch_size", mode="before")
    @classmethod
    def _number_or_auto(cls, value: Any) -> Any:
        if value != "auto" and not (type(value) is int and value >= 1):
            raise ValueError(f"found {value!r}; allowed are auto and whole numbers from 1")
        return value

    @model_validator(mode="after")
    def _batches_divide(self) -> "TrainParams":
        if self.batch_size != "auto" and self.effective_batch_size % self.batch_size:
            raise ValueError(
                f"effective_batch_size ({self.effective_batch_size}) must be a multiple of batch_size ({self.batch_size})"
            )
        return self


class SampleParams(Section):
    prompts: int = Count
    seconds: float = Positive
    candidates: int = Count
    guidance: float = Field(ge=0.0)
    guidance_audio: float | None = Field(ge=0.0)
    temperature: float = Positive
    top_k: int = Field(ge=0)
    top_p: float = Fraction
    rows: int = Count
    weights: Literal["float32", "bfloat16", "int8"]
    fixed_prompts: tuple[str, ...] = Field(strict=False)


class ScoreParams(Section):
    clap: str = Field(min_length=1)
    judge: str
    bootstrap: int = Field(ge=100)
    training_clips: int = Field(ge=2)


class TrackingParams(Section):
    uri: str
    experiment: str = Field(min_length=1)
    required: bool


class Params(Section):
    seed: int = Field(ge=0, lt=2**31)
    compute: ComputeParams
    data: DataParams
    codec: CodecParams
    text: TextParams
    model: ModelParams
    train: TrainParams
    sample: SampleParams
    trusted_pickles: tuple[str, ...] = Field(strict=False)
    score: ScoreParams
    tracking: TrackingParams

    @field_validator("trusted_pickles")
    @classmethod
    def _digests(cls, digests: tuple[str, ...]) -> tuple[str, ...]:
        for digest in digests:
            if not re.fullmatch(r"[0-9a-f]{64}", digest):
                raise ValueError(f"found {digest!r}; a sha256 is 64 hexadecimal digits, in lower case")
        return digests

    def training(self) -> dict[str, Any]:
        """The parameters that a training depends on: of the models' sections the chosen one, under names that all share.

        A published model is not trained: of it there are no parameters of training.
        """
        tree = self.model_dump(mode="json", include={"seed", "compute", "data", "codec", "text", "train"})
        model = self.model.model_dump(mode="json")
        sections = {kind: model.pop(kind) for kind in get_args(ModelParams.__annotations__["type"])}
        if self.model.type == "musicgen":
            del tree["train"], model["dropout_text"]
        tree["model"] = {**model, **sections[self.model.type]}
        return tree

    @model_validator(mode="after")
    def _lengths_agree(self) -> "Params":
        if self.sample.seconds > self.train.crop_seconds:
            raise ValueError(
                f"sample.seconds ({self.sample.seconds:g}) must not exceed train.crop_seconds "
                f"({self.train.crop_seconds:g}), the length that the model is trained on"
            )
        if self.train.crop_seconds > self.data.target_seconds:
            raise ValueError(
                f"train.crop_seconds ({self.train.crop_seconds:g}) must not exceed data.seconds - data.prompt_seconds "
                f"({self.data.target_seconds:g})"
            )
        return self


def _allowed(where: tuple[str | int, ...]) -> list[str]:
    """The keys that are allowed in the section at `where`."""
    section: Any = Params
    for key in where:
        section = section.model_fields[str(key)].annotation
    return list(section.model_fields)


def _line(error: Any) -> str:
    """One line for one of pydantic's errors: which parameter, what was found, what is allowed."""
    where = tuple(error["loc"])
    name = ".".join(str(part) for part in where)
    match error["type"]:
        case "extra_forbidden":
            allowed = _allowed(where[:-1])
            near = difflib.get_close_matches(str(where[-1]), allowed, n=1, cutoff=0.5)
            hint = f"did you mean {'.'.join(map(str, (*where[:-1], near[0])))}? " if near else ""
            return f"{name}: unknown parameter; {hint}allowed here: {', '.join(allowed)}"
        case "missing":
            return f"{name}: missing; it must be given (the repository's params.yaml holds every parameter)"
        case "value_error":
            return f"{name + ': ' if name else ''}{error['ctx']['error']}"
        case _:
            return f"{name}: found {error['input']!r}; {error['msg'][0].lower()}{error['msg'][1:]}"


def parse(tree: Any, source: str = "params.yaml") -> Params:
    """Check a nested mapping; UserError lists every wrong key and value at once."""
    if not isinstance(tree, dict):
        raise UserError(f"{source}: expected a mapping of parameters, found {type(tree).__name__}")
    try:
        return Params.model_validate(tree)
    except ValidationError as error:
        lines = "\n".join(f"  {_line(one)}" for one in error.errors())
        raise UserError(f"{source}:\n{lines}") from None


def load(path: str | Path = "params.yaml") -> Params:
    """Read and check a YAML file of parameters."""
    try:
        # YAML 1.2, as DVC reads it: there 1e-3 is a number, in PyYAML's YAML 1.1 a string.
        tree = YAML(typ="safe").load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run from the root of the repository") from None
    except YAMLError as error:
        raise UserError(f"{path}: not valid YAML: {error}") from None
    return parse(tree, str(path))
