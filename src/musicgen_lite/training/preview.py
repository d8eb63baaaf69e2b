"""Audio previews during training: the fixed prompts, generated with the averaged weights."""

from collections.abc import Callable
from pathlib import Path

from musicgen_lite import codec, text
from musicgen_lite.generation import Sampling, choose_beats, generate, with_beats
from musicgen_lite.io import audio
from musicgen_lite.models import LanguageModel
from musicgen_lite.models.core.conditions import Conditions
from musicgen_lite.params import Params


def previewer(params: Params, resolve: Callable[[str], str], folder: Path) -> Callable[[LanguageModel, int], None]:
    """A function that generates every fixed prompt at a training step and writes the audio into `folder`.

    resolve: turns the name of a model into its path or name for loading.
    """
    prompts = list(params.sample.fixed_prompts)
    if not prompts:
        return lambda model, step: None
    encodec = codec.load(
        resolve(params.codec.name), num_codebooks=params.codec.num_codebooks, trusted=params.trusted_pickles
    )
    encoder = text.load(resolve(params.text.name), trusted=params.trusted_pickles)
    # Encoded once, so that the encoder can be freed.
    conditions = Conditions.from_arrays(text.encode_stored(encoder, prompts, params.text.max_tokens))
    del encoder
    cfg = params.sample
    sampling = Sampling(cfg.temperature, cfg.top_k, cfg.top_p, cfg.guidance)
    frames, length = audio.num_frames(cfg.seconds, encodec.rate, encodec.frame_rate), round(cfg.seconds * encodec.rate)

    def preview(model: LanguageModel, step: int) -> None:
        device = next(model.parameters()).device
        beats = choose_beats(model, conditions.to(device), prompts, range(len(prompts)))
        told = with_beats(conditions.to(device), beats)
        codes = generate(model, told, frames, sampling, range(len(prompts)))
        for number, wave in enumerate(encodec.decode(codes.cpu()).numpy()):
            audio.write(folder / f"step-{step:06d}-prompt-{number}.flac", wave[:length], encodec.rate)

    return preview
