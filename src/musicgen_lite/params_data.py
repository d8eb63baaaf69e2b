"""The section `data` of params.yaml: the sources of clips, and how clips are cut."""

from typing import Any, Literal

from pydantic import Field, model_validator

from musicgen_lite.params_base import Clips, Count, Fraction, NonEmpty, Seconds, Section, VideoUrl


class SyntheticParams(Section):
    seed: int = Field(ge=0, lt=4_000_000)
    train: int = Clips
    validation: int = Clips
    test: int = Field(ge=4, le=2_000_000)  # two in each half: an interval needs two


class DividedParams(Section):
    """A source that is divided here: shares of its tracks for validation and test."""

    validation_fraction: float = Fraction
    test_fraction: float = Fraction

    @model_validator(mode="after")
    def _some_are_left_to_train_on(self) -> "DividedParams":
        if self.validation_fraction + self.test_fraction >= 1.0:
            raise ValueError(
                f"validation_fraction ({self.validation_fraction:g}) and test_fraction ({self.test_fraction:g}) must be "
                "less than 1 together, so that tracks are left to train on"
            )
        return self


class FolderParams(DividedParams):
    path: str


class MusicCapsParams(Section):
    csv: str
    dataset: NonEmpty
    revision: NonEmpty
    validation_fraction: float = Fraction
    split_seed: int = Field(ge=0, lt=2**31)
    cache: NonEmpty
    url: VideoUrl
    workers: int = Field(ge=1, le=64)
    pause_s: float = Field(ge=0.0, le=3600.0)
    attempts: int = Field(ge=1, le=100)
    options: dict[str, Any]
    retry_gone: bool


class JamendoParams(Section):
    tables: str
    subset: NonEmpty
    audio: str
    suffix: NonEmpty
    captions: str
    clips_per_track: int = Field(ge=0, le=1_000_000)


class HubParams(DividedParams):
    name: str
    revision: str
    split: str
    audio: NonEmpty
    text: NonEmpty


class DataParams(Section):
    source: Literal["synthetic", "folder", "musiccaps", "jamendo", "hub"]
    rate: int = Field(ge=8000, le=192000)
    seconds: float = Seconds
    min_seconds: float | None = Field(ge=0.5, le=3600.0)
    prompt_seconds: float = Seconds
    min_available: int = Count
    synthetic: SyntheticParams
    folder: FolderParams
    musiccaps: MusicCapsParams
    jamendo: JamendoParams
    hub: HubParams

    @property
    def shortest(self) -> float:
        """The shortest clip that is kept, in seconds."""
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

    @model_validator(mode="after")
    def _enough_is_composed(self) -> "DataParams":
        made = self.synthetic.train + self.synthetic.validation + self.synthetic.test
        if self.source == "synthetic" and made < self.min_available:
            raise ValueError(
                f"min_available ({self.min_available}) must not exceed the {made} clips that synthetic makes"
            )
        return self
