"""A text-to-audio pipeline of the diffusers library in a model's place: found by its name, and called for one caption at a time.

A pipeline makes a waveform by itself: it has a text encoder and a decoder of its own, predicts no codes, and so has no
likelihood here.
"""

import contextlib
import json
import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from musicgen_lite.device import fitting
from musicgen_lite.errors import UserError, first_line, require
from musicgen_lite.io import audio
from musicgen_lite.pretrained import HUB_TIMEOUT_S, Source, damaged, is_path, quiet

PARAMETER, PURPOSE = "model.diffusers.name", "model.type diffusers"
INDEX = "model_index.json"
# The pipelines that make audio of a text alone, and the argument that tells each how long.
SECONDS = {
    "AudioLDM2Pipeline": "audio_length_in_s",
    "AudioLDMPipeline": "audio_length_in_s",
    "MusicLDMPipeline": "audio_length_in_s",
    "StableAudioPipeline": "audio_end_in_s",
}


def find(name: str) -> Source:
    """The pipeline called `name`: a directory, or a name of the hub, which `@` and a revision may follow. No weights are read.

    UserError where diffusers is not installed, there is no such directory, the hub does not give it, and where it is no
    pipeline, or none that makes audio of a text.
    """
    require("diffusers", extra="diffusers", purpose=PURPOSE)
    folder = Path(name).expanduser()
    if is_path(name) and not folder.is_dir():
        raise UserError(f"{PARAMETER}: there is no directory {name}")
    source = Source(PARAMETER, name, folder) if is_path(name) else _of_hub(name)
    _kind(source)
    return source


def _of_hub(name: str) -> Source:
    """The index of a pipeline in the hub's own cache, fetched if it is not there; its folder's name is the commit."""
    from huggingface_hub import HfApi, hf_hub_download

    repository, _, revision = name.partition("@")
    revision = revision or "main"
    with contextlib.suppress(Exception):  # not cached
        kept = hf_hub_download(repository, INDEX, revision=revision, local_files_only=True)
        return Source(PARAMETER, name, Path(kept).parent, revision=Path(kept).parent.name)
    try:
        # First, because without a network it fails at once, without retries.
        HfApi().model_info(repository, revision=revision, timeout=HUB_TIMEOUT_S)
        folder = Path(hf_hub_download(repository, INDEX, revision=revision)).parent
    except Exception as error:  # the hub's client raises many types
        raise UserError(
            f"{PARAMETER}: {name!r} is not a directory, and the model hub did not give its {INDEX} ({first_line(error)}); check "
            "the name, or without a network name a directory"
        ) from error
    return Source(PARAMETER, name, folder, revision=folder.name)


def _kind(source: Source) -> str:
    """The class of a pipeline; UserError unless it is one of those in `SECONDS`."""
    try:
        kind = str(json.loads((source.folder / INDEX).read_text(encoding="utf-8"))["_class_name"])
    except FileNotFoundError:
        raise UserError(
            f"{source}: no pipeline of diffusers, for there is no {INDEX} in it; name a directory made by a pipeline's save_pretrained"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise damaged(error, source) from error
    if kind not in SECONDS:
        raise UserError(
            f"{source}: a {kind}, which is not known to make audio of a text; allowed are {', '.join(SECONDS)}. What another one "
            "made is scored with model.type external (docs/scoring.md)"
        )
    return kind


class TextToAudio:
    """A pipeline that is loaded. `rate`: in Hz, of what it makes.

    steps, guidance: of the denoising; None is the pipeline's own.
    """

    def __init__(self, pipeline: Any, source: Source, steps: int | None, guidance: float | None) -> None:
        self._pipeline, self._source = pipeline, source
        chosen = {"num_inference_steps": steps, "guidance_scale": guidance}
        self._options = {name: value for name, value in chosen.items() if value is not None}
        vocoder: Any = getattr(pipeline, "vocoder", None)
        self.rate = int((vocoder or pipeline.vae).config.sampling_rate)
        self._hop = math.prod(vocoder.config.upsample_rates) if vocoder else 0  # samples of a spectrogram's frame

    def __call__(self, caption: str, seconds: float, seed: int) -> np.ndarray:
        """Samples `[seconds x rate]`, the mean over channels, for one caption: nothing else has a part in them.

        The noise is drawn on the CPU, so that a seed gives the same on any device. UserError for what the pipeline refuses,
        such as a length beyond its own, and for what is no sound.
        """
        length = SECONDS[type(self._pipeline).__name__]
        options = {length: self._whole_frames(seconds), "generator": torch.Generator().manual_seed(seed)}
        with fitting(PARAMETER, 1, "set sample.weights to float16, or name a smaller one"), torch.inference_mode():
            try:
                made = self._pipeline(caption, output_type="np", **options, **self._options).audios[0]
            except ValueError as error:
                raise UserError(f"{self._source}: {first_line(error)}") from error
        samples = audio.to_mono(np.asarray(made, np.float32).reshape(-1, made.shape[-1]))[: round(seconds * self.rate)]
        reason = audio.invalid_reason(samples, self.rate, seconds)
        if reason and not reason.startswith("silent"):
            raise UserError(
                f"{self._source}: what it made of {caption!r} {reason}; sample.weights float32 is the surest"
            )
        return samples

    def _whole_frames(self, seconds: float) -> float:
        """The seconds to ask for: a pipeline with a spectrogram rounds down to frames, and these are rounded up."""
        if not self._hop:
            return seconds
        frames = math.ceil(round(seconds * self.rate) / self._hop)
        return (frames + 0.5) * self._hop / self.rate


def load(
    name: str, *, steps: int | None = None, guidance: float | None = None, weights: str = "float32", device: str = "cpu"
) -> TextToAudio:
    """The pipeline called `name` (see `find`), with weights of this type, fetched from the hub if they are not cached.

    Weights are read from safetensors alone. UserError as of `find`, and where files are missing or damaged.
    """
    source = find(name)
    kind = getattr(require("diffusers", extra="diffusers", purpose=PURPOSE), _kind(source))
    try:
        with _quiet():
            folder = _fetch(kind, source) if source.revision else source.folder
            pipeline = kind.from_pretrained(folder, dtype=getattr(torch, weights), use_safetensors=True)
    except Exception as error:  # diffusers, transformers and the hub's client raise a dozen types here
        raise UserError(
            f"{source}: cannot be loaded, {first_line(error)}; weights are safetensors here, never pickles"
        ) from error
    _fit_to_transformers(pipeline)
    pipeline.set_progress_bar_config(disable=True)
    warnings.filterwarnings(
        "ignore", module=r"torchsde\."
    )  # Stable Audio's noise ends a rounding error beyond its bounds
    return TextToAudio(pipeline.to(device), source, steps, guidance)


def _fetch(kind: Any, source: Source) -> str:
    """The folder of all files that a pipeline of the hub needs."""
    return str(kind.download(source.name.partition("@")[0], revision=source.revision, use_safetensors=True))


def _fit_to_transformers(pipeline: Any) -> None:
    """Let pipelines run that were written for a transformers of before version 5, where diffusers does not by itself."""
    from transformers import GPT2LMHeadModel, GPT2Model

    language_model: Any = getattr(pipeline, "language_model", None)
    if type(language_model) is GPT2Model:  # as AudioLDM2 was published; what generates is now its head's class alone
        with torch.device("meta"):
            whole = GPT2LMHeadModel(language_model.config)
        whole.transformer = language_model
        whole.tie_weights()  # the head itself, which is never used, takes no memory
        pipeline.register_modules(language_model=whole)
    if type(pipeline).__name__ == "MusicLDMPipeline":  # which expects the vector itself
        encoder = pipeline.text_encoder
        features = encoder.get_text_features
        encoder.get_text_features = lambda *given, **options: features(*given, **options).pooler_output


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the bars and the warnings of diffusers and transformers while a pipeline is loaded."""
    from diffusers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with quiet():
            yield
    finally:
        logging.set_verbosity(before)
