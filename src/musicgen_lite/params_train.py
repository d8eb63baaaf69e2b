"""The section `train` of params.yaml."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from musicgen_lite.params_base import BatchSize, Fraction, Machines, NonEmpty, Seconds, Section, Strategy


class LoraParams(Section):
    """Low-rank adaptation; rank 0: none, all weights are trained."""

    rank: int = Field(ge=0, le=4096)
    alpha: float = Field(gt=0.0, le=1e6)
    targets: tuple[NonEmpty, ...] = Field(strict=False, min_length=1)
    dropout: float = Fraction


class TrainParams(Section):
    init: str
    steps: int = Field(ge=0, le=10_000_000)
    effective_batch_size: int = BatchSize
    batch_size: int | Literal["auto"]
    crop_seconds: float = Seconds
    learning_rate: float = Field(gt=0.0, le=10.0)
    betas: tuple[Annotated[float, Fraction], Annotated[float, Fraction]] = Field(strict=False)
    weight_decay: float = Field(ge=0.0, le=10.0)
    warmup_fraction: float = Fraction
    min_lr_ratio: float = Field(ge=0.0, le=1.0)
    clip_norm: float = Field(gt=0.0, le=1e6)
    precision: Literal["auto", "16-mixed", "bf16-mixed", "32"]
    ema_decay: float = Fraction
    validations: int = Field(ge=1, le=10_000)
    keep_best: int = Field(ge=1, le=1000)
    patience: int = Field(ge=0, le=10_000)
    preview_every: int = Field(ge=0, le=10_000)
    compile: bool
    gradient_checkpointing: bool
    lora: LoraParams
    devices: int = Machines
    num_nodes: int = Machines
    strategy: Strategy

    @field_validator("batch_size", mode="before")
    @classmethod
    def _number_or_auto(cls, value: Any) -> Any:
        if value != "auto" and not (type(value) is int and value >= 1):
            raise ValueError(f"found {value!r}; allowed are auto and whole numbers from 1")
        return value

    @model_validator(mode="after")
    def _without_steps_there_is_a_model(self) -> "TrainParams":
        if not self.steps and not self.init:
            raise ValueError("steps: found 0, which scores the model that train.init names as it is; it names none")
        return self

    @model_validator(mode="after")
    def _batches_divide(self) -> "TrainParams":
        processes = self.devices * self.num_nodes
        if self.batch_size == "auto":
            if processes > 1:
                raise ValueError(
                    "batch_size: auto tries on one device; with several devices or nodes give a number, at most "
                    f"{self.effective_batch_size // processes}"
                )
        elif self.effective_batch_size % (self.batch_size * processes):
            raise ValueError(
                f"effective_batch_size ({self.effective_batch_size}) must be a multiple of batch_size "
                f"({self.batch_size}) x devices ({self.devices}) x num_nodes ({self.num_nodes})"
            )
        return self
