"""Pipelines of diffusers' real classes, with random weights: found, refused by name, and what each makes of a caption."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from musicgen_lite import clap
from musicgen_lite.compute import Recipe
from musicgen_lite.errors import UserError
from musicgen_lite.io import audio
from musicgen_lite.models import diffusers
from musicgen_lite.samples.pipelines import Asked, Renderings
from tests.support import diffusers_tiny
from tests.support.diffusers_tiny import LDM_RATE, LONGEST_S, STABLE_RATE
from tests.support.no_hub import refusal

COMMIT = "0123456789abcdef0123456789abcdef01234567"
RATES = {"audioldm": LDM_RATE, "audioldm2": LDM_RATE, "musicldm": LDM_RATE, "stable-audio": STABLE_RATE}


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A directory of each kind."""
    folder = tmp_path_factory.mktemp("pipelines")
    return {kind: diffusers_tiny.save(folder / kind, kind) for kind in RATES}


@pytest.mark.slow
@pytest.mark.parametrize("kind", RATES)
def test_a_pipeline_makes_the_seconds_asked_for_of_its_caption_and_its_seed(saved: dict[str, Path], kind: str) -> None:
    pipeline = diffusers.load(str(saved[kind]), steps=2)
    assert pipeline.rate == RATES[kind]
    wave = pipeline("A calm piano.", 1.01, 5)
    assert wave.shape == (round(1.01 * pipeline.rate),)
    assert wave.dtype == np.float32
    assert audio.rms_db(wave) > -60
    for caption, seed in (("A calm piano.", 6), ("Loud drums.", 5)):
        assert not np.array_equal(pipeline(caption, 1.01, seed), wave)
    # What was made in between has no part in it.
    assert np.array_equal(pipeline("A calm piano.", 1.01, 5), wave)
    for other in ({"steps": 3}, {"steps": 2, "guidance": 1.0}):
        assert not np.array_equal(diffusers.load(str(saved[kind]), **other)("A calm piano.", 1.01, 5), wave)


@pytest.mark.slow
def test_it_is_the_pipelines_own_audio_with_its_own_defaults(saved: dict[str, Path]) -> None:
    """Stereo becomes the mean of its channels, and nothing else is done."""
    from diffusers import StableAudioPipeline

    own = StableAudioPipeline.from_pretrained(saved["stable-audio"])
    own.set_progress_bar_config(disable=True)
    made = own("Loud drums.", audio_end_in_s=0.5, generator=torch.Generator().manual_seed(3)).audios[0].numpy()
    assert made.shape == (2, int(0.5 * STABLE_RATE))
    assert not np.allclose(made[0], made[1])
    found = diffusers.load(str(saved["stable-audio"]))("Loud drums.", 0.5, 3)
    np.testing.assert_allclose(found, made.mean(axis=0), atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["audioldm", "stable-audio"])
def test_a_candidate_has_the_length_and_the_rate_of_all_others(saved: dict[str, Path], kind: str) -> None:
    ranker = Recipe(clap.load, "embedded")
    work = Renderings(Recipe(diffusers.load, str(saved[kind]), steps=2), ranker, 1.01, 16000)
    (made,) = work.compute(work.read(Asked("Loud drums.", 3)))
    wave = made.wave
    assert np.array_equal(made.embedded, ranker.model.embed_mean(wave, 16000))
    assert wave.shape == (16160,)
    own = work.pipeline.model("Loud drums.", 1.01, 3)
    resampled = audio.resample(own, RATES[kind], 16000)[: len(wave)]
    assert abs(len(resampled) - len(wave)) < 3
    assert np.array_equal(wave[: len(resampled)], resampled)
    assert audio.rms_db(wave) == pytest.approx(audio.rms_db(own), abs=1.0)


@pytest.mark.slow
def test_audioldm2_as_it_was_published_is_the_same_without_a_head(tmp_path: Path, saved: dict[str, Path]) -> None:
    headless = diffusers_tiny.save(tmp_path / "headless", "audioldm2", headless=True)
    assert json.loads((headless / diffusers.INDEX).read_text())["language_model"] == ["transformers", "GPT2Model"]
    bare, whole = (diffusers.load(str(one), steps=2)("Drums.", 0.5, 1) for one in (headless, saved["audioldm2"]))
    assert np.array_equal(bare, whole)


@pytest.mark.slow
@pytest.mark.parametrize("kind", RATES)
def test_half_precision_makes_sound_too(saved: dict[str, Path], kind: str) -> None:
    """Other noise is drawn for it, so that it is another sound."""
    whole, half = (
        diffusers.load(str(saved[kind]), steps=2, weights=weights)("Drums.", 0.5, 1)
        for weights in ("float32", "bfloat16")
    )
    assert half.shape == whole.shape
    assert not np.array_equal(whole, half)
    assert audio.rms_db(half) == pytest.approx(audio.rms_db(whole), abs=6.0)


@pytest.mark.slow
def test_more_seconds_than_a_pipeline_has_are_named(saved: dict[str, Path]) -> None:
    with pytest.raises(UserError, match=r"model\.diffusers\.name '.*stable-audio'.*4\.0s\) is longer than the model"):
        diffusers.load(str(saved["stable-audio"]), steps=2)("Drums.", LONGEST_S + 1, 1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory that looks like a pipeline's as far as its index."""
    (tmp_path / "one").mkdir()
    index(tmp_path / "one", {"_class_name": "AudioLDMPipeline"})
    return tmp_path / "one"


def index(folder: Path, content: object) -> None:
    (folder / diffusers.INDEX).write_text(json.dumps(content))


def test_what_is_no_pipeline_is_named(folder: Path) -> None:
    with pytest.raises(UserError, match=r"model\.diffusers\.name: there is no directory .*/gone"):
        diffusers.find(str(folder / "gone"))
    index(folder, {"_class_name": "StableDiffusionPipeline"})
    with pytest.raises(
        UserError, match=r"a StableDiffusionPipeline, which is not known to make audio.*AudioLDM2Pipeline"
    ):
        diffusers.find(str(folder))
    index(folder, {"_class_name": ["own", "Pipeline"]})  # code of its own
    with pytest.raises(UserError, match=r"a \['own', 'Pipeline'\], which is not known to make audio"):
        diffusers.find(str(folder))
    for broken in ("{}", "[]", "3", "{"):
        (folder / diffusers.INDEX).write_text(broken)
        with pytest.raises(UserError, match="cannot be loaded"):
            diffusers.find(str(folder))
    (folder / diffusers.INDEX).unlink()
    with pytest.raises(UserError, match=r"no pipeline of diffusers, for there is no model_index\.json in it"):
        diffusers.find(str(folder))


@pytest.mark.slow
def test_missing_weights_and_pickles_are_named(saved: dict[str, Path], tmp_path: Path) -> None:
    copy = shutil.copytree(saved["audioldm"], tmp_path / "copy")
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save({}, copy / "unet" / "diffusion_pytorch_model.bin")
    weights.unlink()
    with pytest.raises(
        UserError, match=r"model\.diffusers\.name '.*copy'.*cannot be loaded, .*safetensors here, never"
    ):
        diffusers.load(str(copy))


def test_without_diffusers_the_command_that_brings_it_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(
        UserError, match=r'model\.type diffusers needs the package diffusers.*musicgen-lite\[diffusers\]"'
    ):
        diffusers.find(str(folder))


@pytest.mark.slow
@pytest.mark.parametrize("offline", [True, False])
def test_a_name_that_is_not_cached_is_named_where_no_hub_answers(tmp_path: Path, offline: bool) -> None:
    took, message = refusal(
        tmp_path, "import diffusers\nfrom musicgen_lite.models.diffusers import find", "find('owner/name')", offline
    )
    assert took < 30
    assert "model.diffusers.name: 'owner/name' is not a directory, and the model hub did not give" in message


@pytest.mark.slow
def test_what_the_hub_gave_once_is_found_by_its_commit_and_runs_without_it(
    saved: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    place = tmp_path / "hub" / "models--somebody--tiny"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text(COMMIT)
    shutil.copytree(saved["audioldm"], place / "snapshots" / COMMIT)
    for name in ("somebody/tiny", f"somebody/tiny@{COMMIT}"):
        source = diffusers.find(name)
        assert (source.pinned, source.folder) == (f"somebody/tiny@{COMMIT}", place / "snapshots" / COMMIT)
    named, there = (
        diffusers.load(name, steps=2)("Drums.", 0.5, 1) for name in (f"somebody/tiny@{COMMIT}", str(saved["audioldm"]))
    )
    assert np.array_equal(named, there)
