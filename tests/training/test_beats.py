"""Beats in training: read from the token store, moved with the crop, dropped by their share, learned by the tempo head."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from musicgen_lite import models
from musicgen_lite.errors import UserError
from musicgen_lite.io.files import read_json
from musicgen_lite.params import Params, parse
from musicgen_lite.training.corpus import Corpus
from musicgen_lite.training.dataset import SampleRef, TokenDataset
from musicgen_lite.training.module import codebook_nll, tempo_nll
from musicgen_lite.training.setup import model_config, recipe, set_up
from tests.support.corpora import FRAMES, run, state, tiny_params, write_corpus

NAN = math.nan
BEATS = {f"t{n:02d}": (60.0 + 10 * n, 0.1 * n - 0.4) for n in range(9)} | {"v00": (90.0, 0.2), "v01": (140.0, 0.0)}


@pytest.fixture
def stores(tmp_path: Path) -> tuple[Path, Path]:
    return write_corpus(tmp_path, beats=BEATS)


def dataset(corpus: Corpus, beat: float | None = 0.0, text: float = 0.0, audio: float | None = None) -> TokenDataset:
    return TokenDataset(corpus, FRAMES, seed=3, dropout_text=text, dropout_audio=audio, dropout_beat=beat)


def told(type: str = "a", **train: Any) -> Params:
    tree = tiny_params(type, **train).model_dump(mode="json")
    tree["model"][type]["beat"] = True
    return parse(tree)


def test_beats_are_read_where_they_are_known(stores: tuple[Path, Path], tmp_path: Path) -> None:
    corpus = Corpus(*stores)
    assert dict(corpus.beats.in_order()) == BEATS
    without = Corpus(*write_corpus(tmp_path / "without"))
    assert not without.beats.known.any()
    assert corpus.facts().pop("beats") != Corpus(
        *write_corpus(tmp_path / "other", beats={**BEATS, "t00": (61.0, 0.0)})
    ).facts().pop("beats")
    assert "beats" not in without.facts()
    batch = dataset(without).batch([SampleRef("t00")])
    assert not batch.conditions.has_beat.any()


@pytest.mark.parametrize("beat", [(0.0, 0.1), (-60.0, 0.1), (NAN, 0.1), (120.0, NAN), (math.inf, 0.1)])
def test_an_impossible_beat_is_named(tmp_path: Path, beat: tuple[float, float]) -> None:
    stores = write_corpus(tmp_path, beats={**BEATS, "t03": beat})
    with pytest.raises(
        UserError, match=rf"target: clip 't03' has bpm {beat[0]:g} and beat_s {beat[1]:g}; a tempo above 0"
    ):
        Corpus(*stores)


def test_a_crop_moves_the_beat_by_the_frames_before_it(stores: tuple[Path, Path]) -> None:
    corpus = Corpus(*stores)
    data, starts = dataset(corpus), set()
    whole = corpus.targets["t02"].tolist()
    for epoch in range(40):
        batch = data.batch([SampleRef("t01", epoch), SampleRef("t02", epoch), SampleRef("t09", epoch)])
        codes, beat = batch.codes[1].T.tolist(), batch.conditions.beat
        start = next(start for start in range(4) if whole[start : start + FRAMES] == codes)
        starts.add(start)
        assert beat is not None
        assert beat[1].tolist() == pytest.approx([80.0, -0.2 - start / corpus.frame_rate])
        assert batch.conditions.has_beat.tolist() == [True, True, False]
    assert starts == {0, 1, 2, 3}
    validation = data.batch([SampleRef("t02")]).conditions.beat
    assert validation is not None
    assert validation[0].tolist() == pytest.approx([80.0, -0.2])
    assert dataset(corpus, beat=None).batch([SampleRef("t02")]).conditions.beat is None


def test_beats_are_dropped_by_their_share_and_move_no_other_draw(stores: tuple[Path, Path]) -> None:
    corpus = Corpus(*stores)
    samples = [SampleRef(clip, epoch) for epoch in range(300) for clip in BEATS if clip.startswith("t")]
    plain, given = (dataset(corpus, beat, text=0.3, audio=0.5).batch(samples) for beat in (None, 0.2))
    assert torch.equal(plain.codes, given.codes)
    for name in ("has_text", "has_prompt"):
        assert torch.equal(getattr(plain.conditions, name), getattr(given.conditions, name))
    kept, text = given.conditions.has_beat.float(), given.conditions.has_text.float()
    # 2700 draws: three standard deviations are 0.023 and 0.029.
    assert float(kept.mean()) == pytest.approx(0.8, abs=0.024)
    assert float((kept * text).mean()) == pytest.approx(0.56, abs=0.029)
    assert bool(dataset(corpus, 0.9).batch([SampleRef(clip) for clip in BEATS]).conditions.has_beat.all())


@pytest.mark.parametrize("beats", [None, {"v00": (90.0, 0.2)}])
def test_a_corpus_without_a_beat_to_learn_is_named(
    tmp_path: Path, beats: dict[str, tuple[float, float]] | None
) -> None:
    corpus = Corpus(*write_corpus(tmp_path, beats=beats))
    with pytest.raises(
        UserError, match=r"model\.b\.beat: found true, but of none of the 10 training clips .*set it to false"
    ):
        set_up(told("b"), corpus)
    assert set_up(tiny_params("b"), corpus).model.beat is None


def test_a_share_of_dropped_beats_is_of_trainings_with_beats_alone() -> None:
    assert "dropout_beat" not in recipe(tiny_params())["model"]
    assert recipe(told())["model"]["dropout_beat"] == 0.15


@pytest.mark.parametrize("type", ["a", "b"])
def test_the_tempo_head_is_no_part_of_the_nll(stores: tuple[Path, Path], type: str) -> None:
    corpus = Corpus(*stores)
    torch.manual_seed(0)
    model = models.build(model_config(told(type), corpus.inputs)).eval()
    batch = dataset(corpus, audio=0.0 if type == "b" else None).batch(
        [SampleRef(clip) for clip in ("t00", "t09", "v00")]
    )
    total, clips = tempo_nll(model, batch).tolist()
    assert clips == 2
    assert total == pytest.approx(2 * math.log(33), rel=0.05)
    before = codebook_nll(model, batch)
    before.sum().backward()
    assert {n for n, p in model.named_parameters() if p.grad is None} == {"beat.tempo.weight", "beat.tempo.bias"}
    with torch.no_grad():
        model.beat.tempo.weight.add_(1.0)  # type: ignore[union-attr]
    assert torch.equal(codebook_nll(model, batch), before)


@pytest.mark.parametrize("type", ["a", "b"])
def test_a_training_is_told_beats_learns_tempi_and_resumes(
    tmp_path: Path, stores: tuple[Path, Path], type: str
) -> None:
    """Clips of one phase, which their text says, have one tempo here."""
    clips = [*(f"t{n:02d}" for n in range(10)), *(f"v{n:02d}" for n in range(3))]
    beats = {clip: ((70.0, 95.0, 125.0, 170.0)[n % 4], 0.1) for n, clip in enumerate(clips)}
    stores = write_corpus(tmp_path / "phases", beats=beats)
    params = told(type, steps=40, validations=4, learning_rate=0.03)
    result = run(tmp_path / "whole", params, stores)
    losses = [row["tempo_loss"] for row in read_json(tmp_path / "whole" / "curves.json")]
    assert losses[0] < math.log(33) + 0.3
    assert losses[-1] < losses[0] - 1
    assert result.rows[-1]["tempo_loss"] == losses[-1]
    asked = iter(range(1, 100))
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken", params, stores, stop=lambda: next(asked) == 13)
    run(tmp_path / "broken", params, stores)
    whole, broken = state(tmp_path / "whole"), state(tmp_path / "broken")
    assert all(torch.equal(whole[name], broken[name]) for name in whole)
    files = [(tmp_path / name / "curves.json").read_bytes() for name in ("whole", "broken")]
    assert files[0] == files[1]
    model, _ = models.load(tmp_path / "whole" / "model.safetensors")
    assert model.config.beat
    batch = dataset(Corpus(*stores)).batch([SampleRef(clip) for clip in clips[10:]])
    probabilities, bpm = model.tempos(batch.conditions)
    assert np.allclose(bpm[probabilities.argmax(1)], [125, 170, 70], rtol=0.03)
    assert "tempo_loss" not in run(tmp_path / "plain", tiny_params(type), stores).rows[-1]
