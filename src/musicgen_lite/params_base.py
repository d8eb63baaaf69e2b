"""What the sections of params.yaml are made of: their base class, kinds of values with their bounds, and where runs go."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Fraction = Field(ge=0.0, lt=1.0)
Count = Field(ge=1, le=10_000_000)
Clips = Field(ge=1, le=2_000_000)  # of a split: the next split's seeds begin there
BatchSize = Field(ge=1, le=100_000)  # items held in memory at once
Machines = Field(ge=1, le=1024)
Scale = Field(ge=0.0, le=100.0)
# The shortest that every score accepts, the longest that a codec's memory holds.
Seconds = Field(ge=0.1, le=300.0)
SHARDING = (
    "fsdp",
    "fsdp2",
    "deepspeed",
    "xla",
    "model",
)  # the first words of Lightning's strategies that divide a model


def _non_empty(text: str) -> str:
    """The text; ValueError for one of spaces alone."""
    if not text.strip():
        raise ValueError(f"found {text!r}; it must not be empty")
    return text


def _whole_copies(name: object) -> object:
    """The strategy; ValueError says why another of Lightning's is none here."""
    kind, _, start = str(name).partition("_")
    if kind in SHARDING:
        raise ValueError(
            f"found {name!r}, which gives each process a part of the model: Lightning's weight averaging, whose weights are "
            "validated and kept, does not work on sharded models; use ddp, where each process has the whole model"
        )
    if start in ("spawn", "fork", "notebook"):
        raise ValueError(f"found {name!r}, whose processes hand back neither curves nor model; use ddp")
    return name


def _takes_an_id(url: str) -> str:
    if "{ytid}" not in url:
        raise ValueError(f"found {url!r}; it must hold {{ytid}}, where a video's id goes")
    return url


def _model_name(name: str) -> str:
    if not re.fullmatch(r"([\w.-]+( +[\w.-]+)*)?", name, re.ASCII):
        raise ValueError(
            f"found {name!r}; a name of MLflow's registry has letters, digits, -, _, . and spaces; empty: none"
        )
    return name


def _bucket(place: str) -> str:
    if not re.fullmatch(r"(s3://[a-z0-9][a-z0-9.-]*[a-z0-9](/.*)?)?", place):
        raise ValueError(
            f"found {place!r}; allowed are s3://bucket/folder, and nothing for a folder beside the database"
        )
    return place


def _ours_and_others(names: tuple[str, ...]) -> tuple[str, ...]:
    if "ours" not in names or len(set(names)) < len(names):
        raise ValueError(f"found {', '.join(names)}; ours, which other scores need, and each of the others once")
    return names


# Lightning's strategies with a whole copy of the model in each process, which averaging and checkpoints need.
Strategy = Annotated[Literal["auto", "ddp"], BeforeValidator(_whole_copies)]
Protocols = Annotated[
    tuple[Literal["ours", "fadtk", "kadtk", "attm", "audiocraft"], ...],
    Field(strict=False),
    AfterValidator(_ours_and_others),
]
NonEmpty = Annotated[str, AfterValidator(_non_empty)]
Label = Annotated[str, Field(max_length=250), AfterValidator(_non_empty)]  # MLflow takes 500
Bucket = Annotated[str, AfterValidator(_bucket)]
RegisteredName = Annotated[str, Field(max_length=100), AfterValidator(_model_name)]
VideoUrl = Annotated[str, AfterValidator(_takes_an_id)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class TrackingParams(Section):
    uri: str
    experiment: Label
    required: bool
    registered_model: RegisteredName = ""
    artifacts: Bucket = ""

    @model_validator(mode="after")
    def _a_server_has_its_own(self) -> "TrackingParams":
        if self.artifacts and self.uri.startswith(("http:", "https:", "databricks")):
            raise ValueError(
                f"artifacts: found {self.artifacts!r}, but the server of tracking.uri decides where they go (mlflow server "
                "--artifacts-destination); leave it empty"
            )
        return self
