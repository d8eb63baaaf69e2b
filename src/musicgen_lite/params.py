"""The typed, frozen tree of params.yaml.

Everything is checked here, before anything runs: an unknown key is named with the nearest right one, a wrong value
with what is allowed.
"""

import re
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, ValidationError, field_validator, model_validator
from ruamel.yaml import YAML, YAMLError

from musicgen_lite.errors import UserError
from musicgen_lite.params_base import (
    BatchSize,
    Fraction,
    NonEmpty,
    Protocols,
    Scale,
    Seconds,
    Section,
    TrackingParams,
)
from musicgen_lite.params_compute import ComputeParams
from musicgen_lite.params_data import DataParams
from musicgen_lite.params_errors import describe_all
from musicgen_lite.params_train import TrainParams

RENAMED = {"data.folder.min_clips": "data.min_available", "sample.rows": "sample.batch_size"}  # old names: new ones
# Of `train`: how processes share a step. It changes rounding and dropout's draws alone: a training may go on with another.
DIVISION = ("batch_size", "devices", "num_nodes", "strategy")
# Of `sample`: what counts for a model that is no language model.
SAMPLED_BY: dict[str, tuple[str, ...]] = {
    "external": ("prompts", "seconds"),
    "diffusers": ("prompts", "prompts_file", "seconds", "candidates", "weights", "fixed_prompts"),
}
MUSICGEN_SECONDS = 30.0  # the crops that the published models were trained on
# Codebooks of codecs known by name, checked before anything is fetched. Other codecs are checked when loaded.
CODEBOOKS = {
    "embedded": 4, "facebook/encodec_32khz": 4, "facebook/encodec_24khz": 32, "encodec_24khz": 32, "descript/dac_16khz": 12,
    "descript/dac_24khz": 32, "descript/dac_44khz": 9,
}  # fmt: skip


class CodecParams(Section):
    name: NonEmpty
    num_codebooks: int = Field(ge=1, le=32)
    batch_size: int = BatchSize

    @model_validator(mode="after")
    def _codec_has_as_many(self) -> "CodecParams":
        most = CODEBOOKS.get(self.name.partition("@")[0], 32)
        if self.num_codebooks > most:
            raise ValueError(f"num_codebooks: found {self.num_codebooks}; the codec {self.name} has 1 to {most}")
        return self


class TextParams(Section):
    name: NonEmpty
    max_tokens: int = Field(ge=1, le=512)
    variants: tuple[Literal["caption", "aspects", "both", "shuffled"], ...] = Field(strict=False, min_length=1)
    batch_size: int = BatchSize

    @field_validator("variants")
    @classmethod
    def _each_once(cls, variants: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(variants)) < len(variants):
            raise ValueError(f"found {', '.join(variants)}; each is allowed once")
        return variants


class DecoderParams(Section):
    """Sizes of a decoder: `d_model` must be a multiple of `heads`."""

    d_model: int = Field(ge=1, le=16384)
    layers: int = Field(ge=1, le=256)
    heads: int = Field(ge=1, le=256)
    dropout: float = Fraction
    positions: Literal["sinusoidal", "rotary", "learned"]
    pointer_dim: int = Field(ge=0, le=1024)
    beat: bool

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
    """A published model, which is taken as it is where `train.init` is empty."""

    name: NonEmpty


class ExternalParams(Section):
    """Another system: what it is called, the folder of its audio, and the table of its prompts; nothing is trained."""

    name: NonEmpty
    audio: str
    prompts: str


class DiffusersParams(Section):
    """A text-to-audio pipeline of the diffusers library, taken as it is; None: the pipeline's own value."""

    name: NonEmpty
    steps: int | None = Field(ge=1, le=10_000)
    guidance: float | None = Scale


class ModelParams(Section):
    type: Literal["a", "b", "musicgen", "external", "diffusers"]
    pattern: Literal["interleaved", "delay", "parallel"]
    dropout_text: float = Fraction
    dropout_beat: float = Fraction
    a: AParams
    b: BParams
    musicgen: MusicgenParams
    external: ExternalParams
    diffusers: DiffusersParams

    @property
    def is_language_model(self) -> bool:
        """Whether it predicts codes: another system and a pipeline of diffusers have neither a model file nor a likelihood."""
        return self.type not in ("external", "diffusers")

    @property
    def decoder(self) -> AParams | BParams | None:
        """The sizes of model A or B; None for a model of others, which brings its own."""
        chosen = getattr(self, self.type)
        return chosen if isinstance(chosen, AParams | BParams) else None

    @model_validator(mode="after")
    def _external_has_audio(self) -> "ModelParams":
        if self.type == "external" and not self.external.audio.strip():
            raise ValueError("external.audio: found ''; model.type external needs the folder of the system's audio")
        return self

    @model_validator(mode="after")
    def _musicgen_is_delayed(self) -> "ModelParams":
        if self.type == "musicgen" and self.pattern != "delay":
            raise ValueError(
                f"pattern: found {self.pattern!r}; MusicGen predicts in the pattern delay, and in no other"
            )
        return self


class SampleParams(Section):
    prompts: int = Field(ge=2, le=100_000)
    prompts_file: str
    seconds: float = Seconds
    candidates: int = Field(ge=1, le=64)
    guidance: float = Scale
    guidance_audio: float | None = Scale
    temperature: float = Field(ge=0.01, le=100.0)
    top_k: int = Field(ge=0, le=65536)
    top_p: float = Fraction
    batch_size: int = BatchSize
    weights: Literal["float32", "bfloat16", "float16", "int8"]
    kv_cache: Literal["auto", "float32", "bfloat16", "float16"]
    fixed_prompts: tuple[NonEmpty, ...] = Field(strict=False, max_length=1000)


class ScoreParams(Section):
    clap: NonEmpty
    judge: str
    protocols: Protocols
    vggish: str
    passt: str
    aesthetics: str
    bootstrap: int = Field(ge=100, le=100_000)
    training_clips: int = Field(ge=2, le=10_000_000)

    @model_validator(mode="after")
    def _audiocraft_has_vggish(self) -> "ScoreParams":
        if "audiocraft" in self.protocols and not self.vggish.strip():
            raise ValueError(
                "vggish: found ''; the protocol audiocraft needs VGGish's weights: fetch vggish-10086976.pth from the release v0.1 of "
                "github.com/harritaylor/torchvggish, and name the file here"
            )
        return self


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

    @property
    def trained(self) -> bool:
        """Whether a model is trained here: another system, and a published model that `train.init` does not name, are taken as they are."""
        return self.model.type in ("a", "b") or (self.model.type == "musicgen" and bool(self.train.init))

    def training(self) -> dict[str, Any]:
        """The parameters that a training depends on, those of the chosen model directly under `model`.

        A published model that is not trained has no section `train`, one that is has its name in `train.init`; what is no language
        model here has neither codes in a pattern nor this text encoder.
        """
        tree = self.model_dump(mode="json", include={"seed", "compute", "data", "codec", "text", "train"})
        tree["compute"] = {name: tree["compute"][name] for name in ("device", "threads")}  # engines give the same bytes
        model = self.model.model_dump(mode="json")
        sections = {kind: model.pop(kind) for kind in get_args(ModelParams.__annotations__["type"])}
        if self.model.type not in ("a", "b"):
            del model["dropout_beat"]
        if not self.trained:
            del tree["train"], model["dropout_text"]
        elif self.model.type == "musicgen":
            del sections["musicgen"]["name"]
        if not self.model.is_language_model:
            del tree["text"], model["pattern"]
        tree["model"] = {**model, **sections[self.model.type]}
        return tree

    def scoring(self) -> dict[str, Any]:
        """The parameters that samples and scores depend on; how another system sampled is not known here."""
        tree = self.model_dump(mode="json", include={"sample", "score"})
        if self.model.type in SAMPLED_BY:
            tree["sample"] = {name: tree["sample"][name] for name in SAMPLED_BY[self.model.type]}
        return tree

    @model_validator(mode="after")
    def _device_has_the_precision(self) -> "Params":
        if self.compute.device == "cpu" and self.train.precision == "16-mixed" and self.trained:
            raise ValueError(
                "train.precision: found '16-mixed', which needs a GPU; on a CPU use auto, 32 or bf16-mixed"
            )
        return self

    @model_validator(mode="after")
    def _lora_has_a_base(self) -> "Params":
        if self.trained and self.train.lora.rank and not self.train.init:
            raise ValueError(
                f"train.lora.rank: found {self.train.lora.rank}; LoRA adds to the weights of a model, which train.init must name; "
                "0 trains all weights"
            )
        return self

    @model_validator(mode="after")
    def _another_system_was_prompted_elsewhere(self) -> "Params":
        if self.model.type == "external" and self.sample.prompts_file:
            raise ValueError(
                f"sample.prompts_file: found {self.sample.prompts_file!r}; with model.type external nothing is generated: leave it "
                "empty, and name the system's own table in model.external.prompts"
            )
        return self

    @model_validator(mode="after")
    def _pipelines_have_no_kernels(self) -> "Params":
        if self.model.type == "diffusers" and self.sample.weights == "int8":
            raise ValueError("sample.weights: found 'int8'; a pipeline of diffusers has float32, bfloat16 or float16")
        return self

    @model_validator(mode="after")
    def _lengths_agree(self) -> "Params":
        if self.sample.seconds > self.train.crop_seconds:
            raise ValueError(
                f"sample.seconds ({self.sample.seconds:g}) must not exceed train.crop_seconds "
                f"({self.train.crop_seconds:g}), the length that the model is trained on"
            )
        crop, target, rate = self.train.crop_seconds, self.data.target_seconds, self.data.rate
        if round(crop * rate) > round(target * rate):  # in samples: in floating point 2.3 - 1.2 is less than 1.1
            raise ValueError(
                f"train.crop_seconds ({crop:g}) must not exceed data.seconds - data.prompt_seconds ({target:g})"
            )
        if self.model.type == "musicgen" and crop > MUSICGEN_SECONDS:
            raise ValueError(
                f"train.crop_seconds: found {crop:g}; MusicGen was trained on {MUSICGEN_SECONDS:g} s, and clips that are "
                "compared must not be longer"
            )
        return self


def parse(tree: Any, source: str = "params.yaml") -> Params:
    """Check a nested mapping; UserError lists every wrong key and value at once."""
    if not isinstance(tree, dict):
        raise UserError(f"{source}: expected a mapping of parameters, found {type(tree).__name__}")
    try:
        return Params.model_validate(tree)
    except ValidationError as error:
        lines = "\n".join(f"  {line}" for line in describe_all(error.errors(), Params, RENAMED))
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
