"""The arithmetic of training: decay groups, losses over masks."""

import dataclasses
import math
import shutil
from pathlib import Path

import pytest
import torch

from musicgen_lite import models
from musicgen_lite.io.arrays import ArrayStore
from musicgen_lite.models import LanguageModel
from musicgen_lite.training.corpus import Corpus
from musicgen_lite.training.dataset import SampleRef, TokenDataset
from musicgen_lite.training.module import codebook_nll, evaluate, parameter_groups
from musicgen_lite.training.sampler import ClipLoader
from musicgen_lite.training.setup import model_config, validation_steps
from tests.support.corpora import (
    CODEC,
    FRAMES,
    SIZE,
    melodies,
    tiny_params,
    write_corpus,
    write_store,
    write_varied_corpus,
)


def test_validations_are_evenly_spaced_and_the_last_is_the_end() -> None:
    assert validation_steps(600, 8) == [75, 150, 225, 300, 375, 450, 525, 600]
    assert validation_steps(10, 3) == [3, 7, 10]
    assert validation_steps(2, 8) == [1, 2]


def build(type: str, corpus: Corpus) -> LanguageModel:
    torch.manual_seed(0)
    return models.build(model_config(tiny_params(type), corpus.inputs))


@pytest.mark.parametrize("type", ["a", "b"])
def test_only_matrices_decay(tmp_path: Path, type: str) -> None:
    model = build(type, Corpus(*write_corpus(tmp_path)))
    decayed, kept = parameter_groups(model, 0.1)
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.1, 0.0)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert sorted(names) == sorted(id(p) for group in (decayed, kept) for p in group["params"])
    for parameter in kept["params"]:
        assert names[id(parameter)].endswith(("bias", "norm.weight")) or parameter.ndim == 1
    assert all(parameter.ndim > 1 for parameter in decayed["params"])
    assert "code_embedding.weight" in {names[id(parameter)] for parameter in decayed["params"]}


@pytest.mark.parametrize("type", ["a", "b"])
def test_another_text_of_the_clip_changes_its_loss(tmp_path: Path, type: str) -> None:
    corpus = Corpus(*write_varied_corpus(tmp_path))
    model = build(type, corpus).eval()
    data = TokenDataset(corpus, FRAMES, 0, 0.0, dropout_audio=0.0 if type == "b" else None)
    # The clip is too short to be cropped, so that nothing but its text changes from one pass to the next.
    batches = [data.batch([SampleRef("t00", epoch)]) for epoch in range(30)]
    losses = {codebook_nll(model, batch).sum().item() for batch in batches}
    texts = {tuple(batch.conditions.text.flatten().tolist()) for batch in batches}
    assert len(losses) == len(texts) == 4


@pytest.mark.parametrize("type", ["a", "b"])
def test_the_loss_is_the_sum_over_valid_cells_of_each_clip_alone(tmp_path: Path, type: str) -> None:
    corpus = Corpus(*write_corpus(tmp_path, short=True))
    model = build(type, corpus).eval()
    data = TokenDataset(corpus, FRAMES, 0, 0.0, dropout_audio=0.0 if type == "b" else None)
    clips = corpus.clips("train")
    expected = torch.zeros(2)
    for clip in clips:
        batch = data.batch([SampleRef(clip)])
        assert batch.mask.all()  # alone, a clip needs no padding
        logits = model(batch.codes, batch.conditions)
        expected += -logits.log_softmax(-1).gather(-1, batch.codes[..., None])[0, ..., 0].sum(dim=1).detach()
    together = codebook_nll(model, data.batch([SampleRef(clip) for clip in clips]))
    assert together.tolist() == pytest.approx(expected.tolist(), rel=1e-5)

    scores = evaluate(model, ClipLoader(data, clips, batch_size=3), 10.0, torch.device("cpu"))
    cells = data.cells([SampleRef(clip) for clip in clips])
    if type == "a":
        assert scores["val_loss"] == pytest.approx(float(expected.sum()) / cells, rel=1e-5)
        assert scores["val_loss_q2"] == pytest.approx(float(expected[1]) / (cells / 2), rel=1e-5)
        assert "val_loss_prompt" not in scores
    else:
        assert scores["val_loss_prompt"] == pytest.approx(float(expected.sum()) / cells, rel=1e-5)
        assert scores["val_loss"] != pytest.approx(scores["val_loss_prompt"], rel=1e-7)
    assert scores["bits_per_second"] == pytest.approx(scores["val_loss"] / math.log(2) * 2 * 10)


def test_the_prompts_of_short_clips_are_padded_and_the_padding_is_masked(tmp_path: Path) -> None:
    tokens, text = write_corpus(tmp_path, short=True)
    lengths = {key: 1 + number % 4 for number, key in enumerate(ArrayStore(tokens / "prompt").keys)}
    shutil.rmtree(tokens / "prompt")
    arrays = {key: melodies(length, number % 3) for number, (key, length) in enumerate(lengths.items())}
    write_store(tokens / "prompt", arrays, "uint16", CODEC)
    corpus = Corpus(tokens, text)
    assert corpus.prompt_frames == 4
    data = TokenDataset(corpus, FRAMES, 0, 0.0, 0.0)
    model = build("b", corpus).eval()
    samples = [SampleRef(clip) for clip in corpus.clips("train")]
    batch = data.batch(samples)
    prompt = batch.conditions.prompt
    assert prompt is not None
    filled = (prompt == SIZE).all(dim=1).sum(dim=1).tolist()
    assert filled == [4 - lengths[sample.clip] for sample in samples]
    with torch.no_grad():
        alone = torch.stack([codebook_nll(model, data.batch([sample])) for sample in samples]).sum(dim=0)
        torch.testing.assert_close(codebook_nll(model, batch), alone, rtol=1e-5, atol=1e-4)
        longer = torch.where(
            prompt == SIZE, torch.zeros_like(prompt), prompt
        )  # codes in place of the padding have an effect
        unmasked = dataclasses.replace(batch, conditions=dataclasses.replace(batch.conditions, prompt=longer))
        assert not torch.allclose(codebook_nll(model, unmasked), alone, rtol=1e-5, atol=1e-4)
