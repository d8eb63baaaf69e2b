"""The section `compute` of params.yaml."""

from typing import Literal

from pydantic import Field, model_validator

from musicgen_lite.params_base import Section


class ComputeParams(Section):
    device: Literal["auto", "cpu", "cuda"]
    threads: int = Field(ge=0, le=1024)
    engine: Literal["local", "ray"]
    address: str
    workers: int = Field(ge=0, le=10_000)
    gpus_per_worker: float = Field(ge=0.0, le=16.0)

    @model_validator(mode="after")
    def _workers_have_the_device(self) -> "ComputeParams":
        if self.engine == "ray" and self.device == "cuda" and not self.gpus_per_worker:
            raise ValueError(
                "gpus_per_worker: found 0; with device cuda a worker of Ray needs a GPU, or a part of one (0.5)"
            )
        if self.engine == "ray" and self.device == "cpu" and self.gpus_per_worker:
            raise ValueError(
                f"gpus_per_worker: found {self.gpus_per_worker:g}; with device cpu a worker of Ray takes none"
            )
        if self.gpus_per_worker > 1 and self.gpus_per_worker % 1:
            raise ValueError(
                f"gpus_per_worker: found {self.gpus_per_worker:g}; allowed are parts of one and whole numbers"
            )
        return self
