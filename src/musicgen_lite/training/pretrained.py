"""A published model in the place of a trained one: the same files, from weights that others trained."""

from pathlib import Path

import torch

from musicgen_lite import models, published
from musicgen_lite.device import choose_device
from musicgen_lite.errors import UserError
from musicgen_lite.params import Params
from musicgen_lite.training.corpus import Corpus
from musicgen_lite.training.dataset import TokenDataset
from musicgen_lite.training.fit import TrainingResult, crop_frames
from musicgen_lite.training.module import evaluate
from musicgen_lite.training.sampler import ClipLoader

BATCH = 8  # clips of validation at once; it changes nothing


def import_peer(
    params: Params, name: str, tokens_dir: str | Path, text_dir: str | Path, model_path: str | Path
) -> TrainingResult:
    """Write the MusicGen called `name` as a model file, with its validation loss as the only point of its curve.

    UserError where the codec of the tokens or the encoder of the texts is not the one it was trained with.
    """
    corpus = Corpus(tokens_dir, text_dir)
    device = torch.device(choose_device(params.compute.device, "compute.device"))
    found = published.load(name, corpus.max_text, device, params.trusted_pickles)
    config = found.model.config
    for what, folder, has, needs, remedy in (
        (
            "codec",
            tokens_dir,
            corpus.codec,
            config.codec,
            f"codec.name to {name} and codec.num_codebooks to {config.num_codebooks}",
        ),
        ("text encoder", text_dir, corpus.encoder, config.text, f"text.name to {name}"),
    ):
        if has != needs:
            raise UserError(
                f"{found.source}: its {what} is {needs}, that of {folder} is {has}, and a model takes no other than its "
                f"own; set {remedy}, for all models that you compare"
            )
    frames = crop_frames(params, corpus)
    if frames > config.max_frames:
        raise UserError(
            f"train.crop_seconds: found {params.train.crop_seconds:g}; MusicGen was trained on "
            f"{config.max_frames / config.frame_rate:g} s, and clips that are compared are no longer"
        )
    dataset = TokenDataset(corpus, frames, params.seed, dropout_text=0.0)
    validation = ClipLoader(dataset, corpus.clips("validation"), BATCH)
    scores = evaluate(found.model, validation, corpus.frame_rate, device)
    loss = scores["val_loss"]
    extra = {
        "step": 0,
        "val_loss": loss,
        "weights": f"as published: {found.source.label}",
        "names": corpus.names,
        "corpus": corpus.facts(),
    }
    models.save(model_path, found.model.cpu(), extra)
    return TrainingResult(
        rows=[{"step": 0, "epoch": 0.0, **scores}],
        timings=[],
        best_step=0,
        val_loss=loss,
        ema_val_loss=loss,
        raw_val_loss=loss,
        parameters=sum(parameter.numel() for parameter in found.model.parameters()),
        published=found.source.label,
    )
