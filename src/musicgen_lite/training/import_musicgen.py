"""A published model in the place of a trained one: the same files, from weights that others trained."""

from pathlib import Path

import torch

from musicgen_lite import published
from musicgen_lite.device import choose_device
from musicgen_lite.errors import UserError
from musicgen_lite.params import Params
from musicgen_lite.published import PretrainedMusicGen
from musicgen_lite.training.corpus import Corpus
from musicgen_lite.training.dataset import TokenDataset
from musicgen_lite.training.export import TrainingResult, export_untrained
from musicgen_lite.training.module import evaluate
from musicgen_lite.training.sampler import ClipLoader
from musicgen_lite.training.setup import crop_frames

BATCH_SIZE = 8  # of the validation; the loss does not depend on it


def import_pretrained(params: Params, name: str, corpus: Corpus, model_path: Path) -> TrainingResult:
    """Write the MusicGen called `name` as a model file, with its validation loss as the only point of its curve.

    UserError where the codec of the tokens or the encoder of the texts is not the one it was trained with, and where
    clips are longer than those that it was trained on.
    """
    device = torch.device(choose_device(params.compute.device, "compute.device"))
    pretrained = published.load(name, max_text=corpus.max_text, device=device, trusted=params.trusted_pickles)
    _check_corpus(pretrained, name, corpus)
    frames, config = crop_frames(params, corpus.inputs), pretrained.model.config
    if frames > config.max_frames:
        raise UserError(
            f"train.crop_seconds: found {params.train.crop_seconds:g}; MusicGen was trained on "
            f"{config.max_frames / config.frame_rate:g} s, and clips that are compared are no longer"
        )
    dataset = TokenDataset(corpus, frames, params.seed, dropout_text=0.0)
    validation = ClipLoader(dataset, corpus.clips("validation"), BATCH_SIZE)
    scores = evaluate(pretrained.model, validation, corpus.frame_rate, device)
    label = pretrained.source.label
    return export_untrained(
        pretrained.model, corpus, scores, model_path, {"weights": f"as published: {label}"}, published=label
    )


def _check_corpus(pretrained: PretrainedMusicGen, name: str, corpus: Corpus) -> None:
    """Raise UserError unless tokens and texts come from the codec and the text encoder of the checkpoint."""
    config = pretrained.model.config
    set_codec = f"codec.name to {name} and codec.num_codebooks to {config.num_codebooks}"
    for part, folder, found, needed, remedy in (
        ("codec", corpus.targets.directory, corpus.codec, config.codec, set_codec),
        ("text encoder", corpus.text.directory, corpus.encoder, config.text, f"text.name to {name}"),
    ):
        if found != needed:
            raise UserError(
                f"{pretrained.source}: its {part} is {needed}, that of {folder} is {found}, and a model works with its "
                f"own alone; set {remedy}, for all models that you compare"
            )
