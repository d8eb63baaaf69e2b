"""A tuned MusicGen generates from its file alone, and goes back to transformers, whose own generate then gives the same codes."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

import musicgen_lite
from musicgen_lite import models, published
from musicgen_lite.cli import app
from musicgen_lite.generation import Sampling, generate
from musicgen_lite.initial import locate
from musicgen_lite.models import Conditions
from musicgen_lite.params import TrackingParams
from tests.support import codec_tiny, finetuning, musicgen_checkpoint
from tests.support.corpora import paths, run
from tests.test_generator import save

pytestmark = pytest.mark.slow
FRAMES = 40
CAPTIONS = ["A fast techno beat with a synth lead.", "Slow."]


def no_run(tracking: TrackingParams, root: Path, name: str) -> Path:
    raise AssertionError(f"{name} is no MLflow run")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finetuning.checkpoint(tmp_path_factory.mktemp("musicgen"))


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Path:
    """The file of a model that LoRA has tuned."""
    folder = tmp_path_factory.mktemp("tuned")
    params = finetuning.params(base, 4, steps=4, validations=1)
    run(folder, params, finetuning.write_corpus(folder), initial=locate(params, folder, no_run))
    return paths(folder).model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tuned: Path) -> Path:
    """The same as a directory for transformers."""
    made = tmp_path_factory.mktemp("export") / "tuned"
    done = export(str(tuned), str(made), "--format", "transformers")
    assert done.exit_code == 0, done.output
    return made


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def export(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["export", *arguments])


def greedy(name: Path, guidance: float) -> torch.Tensor:
    """The codes `[B, N_q, T]` of this project's decoder, for a directory or a file."""
    if name.is_dir():
        model = published.load(str(name), max_text=finetuning.MAX_TEXT).model
    else:
        model = models.load(name)[0]
    encoder = musicgen_lite.text.load("embedded")
    texts = [torch.from_numpy(states) for states in encoder.encode(CAPTIONS, finetuning.MAX_TEXT)]
    return generate(model, Conditions.from_texts(texts), FRAMES, Sampling(top_k=1, guidance=guidance), range(2))


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_transformers_generates_the_same_greedy_codes(
    folder: Path, tuned: Path, base: Path, guidance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoProcessor, MusicgenForConditionalGeneration

    theirs = MusicgenForConditionalGeneration.from_pretrained(folder).eval()
    processor = AutoProcessor.from_pretrained(folder)
    words = processor(text=CAPTIONS, padding=True, return_tensors="pt")
    with monkeypatch.context() as patch, torch.no_grad():
        patch.setattr(theirs.audio_encoder, "decode", lambda codes, audio_scales: SimpleNamespace(audio_values=codes))
        expected = theirs.generate(**words, do_sample=False, guidance_scale=guidance, max_length=FRAMES + 4)
    codes = greedy(tuned, guidance)
    assert min(len(row.unique()) for row in codes) > 4
    assert torch.equal(codes, expected[0, :, :, -FRAMES:])
    assert torch.equal(codes, greedy(folder, guidance))
    assert not torch.equal(codes, greedy(base, guidance))


def test_a_directory_says_how_it_generates_and_whose_it_is(folder: Path) -> None:
    from transformers import AutoFeatureExtractor, GenerationConfig

    settings = GenerationConfig.from_pretrained(folder)
    assert (settings.do_sample, settings.guidance_scale, settings.decoder_start_token_id) == (True, 3.0, 512)
    assert AutoFeatureExtractor.from_pretrained(folder).sampling_rate == 16000
    card = (folder / "README.md").read_text()
    assert "license: unknown" in card
    assert "that of the published checkpoint" in card
    assert f"Training started from {folder.parents[1]}" in card


def test_the_file_and_the_directory_make_the_same_sound(folder: Path, tuned: Path) -> None:
    prompt = CAPTIONS[0]
    found = []
    for name in (tuned, folder):
        done = CliRunner().invoke(
            app,
            ["generate", prompt, "--model", str(name), "--seconds", "0.5", "--candidates", "1", "-o", "out.wav"],
        )
        assert done.exit_code == 0, done.output
        found.append(Path("out.wav").read_bytes())
    assert found[0] == found[1]
    made = musicgen_lite.load(tuned, clap="").generate(prompt, seconds=0.5, candidates=1)
    assert found[0] == made.wav()


def test_a_decoder_as_wide_as_its_text_goes_back_where_its_projection_was_not_trained(tmp_path: Path) -> None:
    wide = musicgen_checkpoint.save(tmp_path / "wide", musicgen_checkpoint.build(hidden_size=128, ffn_dim=512))
    model = published.load(str(wide)).model
    names = {"names": {"codec": "embedded", "text": "embedded"}}
    models.save(tmp_path / "same.safetensors", model, names)
    assert export("same.safetensors", "back", "--format", "transformers").exit_code == 0
    again = published.load("back").model.state_dict()
    assert all(torch.equal(value, again[name]) for name, value in model.state_dict().items())
    with torch.no_grad():
        model.get_parameter("text_projection.weight").mul_(2)
    models.save(tmp_path / "tuned.safetensors", model, names)
    done = export("tuned.safetensors", "tuned", "--format", "transformers")
    assert done.exit_code == 2
    assert "tuned.safetensors: its text encoder and its decoder are both 128 wide" in done.stderr
    assert not Path("tuned").exists()


def test_what_transformers_does_not_have_is_named_and_nothing_is_written(tmp_path: Path, tuned: Path) -> None:
    model, extra = models.load(tuned)
    save(tmp_path / "own.safetensors", "a")
    models.save(tmp_path / "other.safetensors", model, {"names": {"codec": "encodec_24khz", "text": "embedded"}})
    dac = {"codec": str(codec_tiny.save_dac(tmp_path / "dac")), "text": "embedded"}
    models.save(tmp_path / "dac.safetensors", model, {"names": dac})
    for file, message in (
        ("dac.safetensors", "/dac' is no EnCodec, and transformers' MusicGen decodes with no other"),
        ("own.safetensors", "own.safetensors: a model of type a, which transformers does not have"),
        ("other.safetensors", "other.safetensors: its codec 'encodec_24khz' is one of the encodec package"),
    ):
        done = export(file, "new", "--format", "transformers")
        assert done.exit_code == 2, done.output
        assert message in done.stderr
        assert not Path("new").exists()
    assert np.isfinite(extra["val_loss"])
