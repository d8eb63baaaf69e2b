"""Captions to audio by a pipeline of diffusers, one candidate at a time: what the stage `sample` computes, wherever it does."""

from dataclasses import dataclass

import numpy as np

from musicgen_lite.clap import ClapScorer
from musicgen_lite.compute import Recipe
from musicgen_lite.io import audio
from musicgen_lite.models.diffusers import TextToAudio
from musicgen_lite.samples.candidates import Made


@dataclass(frozen=True)
class Asked:
    """What one candidate is made of."""

    caption: str
    seed: int


@dataclass(frozen=True)
class Renderings:
    """Candidates of `seconds` at `rate` Hz, whatever the pipeline's own rate is."""

    pipeline: Recipe[TextToAudio]
    clap: Recipe[ClapScorer]
    seconds: float
    rate: int

    def name(self, piece: Asked) -> str:
        """See `Work.name`."""
        return f"the candidate of seed {piece.seed} for {piece.caption!r}"

    def read(self, piece: Asked) -> Asked:
        """See `Work.read`."""
        return piece

    def compute(self, inputs: Asked) -> list[Made]:
        """See `Work.compute`; UserError for what the pipeline refuses."""
        pipeline, length = self.pipeline.model, round(self.seconds * self.rate)
        made = pipeline(inputs.caption, self.seconds, inputs.seed)
        samples = audio.resample(made, pipeline.rate, self.rate)[:length]
        wave = np.pad(samples, (0, length - len(samples)))  # rates round differently
        return [Made(wave, self.clap.model.embed_mean(wave, self.rate))]
