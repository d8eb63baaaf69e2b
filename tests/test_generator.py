"""From a model's file to audio, in Python and on the command line, with the shipped codec, text encoder and CLAP."""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

import musicgen_lite
from musicgen_lite import codec, generator, models, text
from musicgen_lite.cli import app
from musicgen_lite.errors import UserError
from musicgen_lite.generation import Sampling, tempo
from musicgen_lite.generator import Generator
from musicgen_lite.io import audio
from musicgen_lite.io.beats import Beat
from musicgen_lite.models import Conditions, ModelConfig
from musicgen_lite.pretrained import shipped
from tests.support.standins import clicks

pytestmark = pytest.mark.slow
PROMPT = "A fast techno beat with a synth lead."


def save(path: Path, kind: str, name: str = "embedded", **changes: object) -> Path:
    """A small untrained model for the shipped codec, found under `name`, and encoder."""
    coder, encoder = codec.load("embedded", num_codebooks=4), text.load("embedded")
    values: dict[str, object] = {
        "type": kind, "pattern": "delay", "codebook_size": coder.codebook_size, "num_codebooks": 4,
        "text_dim": encoder.dim, "d_model": 32, "layers": 1, "heads": 2, "max_frames": 60, "max_text": 64,
        "max_prompt_frames": 150, "frame_rate": 50.0, "rate": coder.rate, "codec": coder.fingerprint,
        "text": encoder.fingerprint,
    }  # fmt: skip
    torch.manual_seed(0)
    model = models.build(ModelConfig(**{**values, **changes}))  # type: ignore[arg-type]
    models.save(path, model, {"names": {"codec": name, "text": "embedded"}})
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Models and clips by name."""
    folder = tmp_path_factory.mktemp("generator")
    rng = np.random.default_rng(0)
    tone = 0.2 * np.sin(np.arange(16000 * 2) / 16000 * 2 * np.pi * 330).astype(np.float32)
    found = {kind: save(folder / f"{kind}.safetensors", kind) for kind in "ab"}
    found["other"] = save(folder / "other.safetensors", "a", codec="0123456789abcdef")
    found["cut"] = folder / "cut.safetensors"
    found["cut"].write_bytes(found["a"].read_bytes()[:1000])
    clips = {
        "tone.wav": tone, "short.wav": tone[:1600], "silent.wav": np.zeros(32000, np.float32),
        "empty.wav": np.zeros(0, np.float32), "long.wav": np.tile(tone, 20),
    }  # fmt: skip
    for name, samples in clips.items():
        soundfile.write(folder / name, samples, 16000)
    soundfile.write(folder / "nan.wav", np.full(32000, np.nan, np.float32), 16000, subtype="FLOAT")
    soundfile.write(folder / "six.wav", 0.1 * rng.standard_normal((44100 * 2, 6)), 44100)
    soundfile.write(folder / "eight.wav", tone, 16000, subtype="PCM_U8")
    (folder / "text.wav").write_text("this is no audio")
    return found | {file.name: file for file in folder.iterdir() if file.suffix == ".wav"}


@pytest.fixture(scope="module")
def generators(files: dict[str, Path]) -> dict[str, Generator]:
    return {kind: musicgen_lite.load(files[kind]) for kind in "ab"}


def test_a_prompt_becomes_music_and_the_best_candidate_is_kept(generators: dict[str, Generator]) -> None:
    music = generators["a"].generate(PROMPT, seconds=2.0, candidates=3)
    assert music.candidates.shape == (3, 32000)
    assert np.isfinite(music.samples).all()
    assert music.picked == int(music.scores.argmax())
    assert len(set(music.scores)) == 3
    again = generators["a"].generate(PROMPT, seconds=2.0, candidates=3)
    assert np.array_equal(again.candidates, music.candidates)
    fewer = generators["a"].generate(PROMPT, seconds=2.0, candidates=1)
    assert np.array_equal(fewer.candidates[0], music.candidates[0])
    other = generators["a"].generate(PROMPT, seconds=2.0, candidates=1, seed=1)
    assert not np.array_equal(other.samples, fewer.samples)


def test_music_goes_on_from_a_clip(generators: dict[str, Generator], files: dict[str, Path]) -> None:
    music = generators["a"].generate(PROMPT, seconds=1.0, continued=files["tone.wav"], candidates=1)
    assert music.new_from_s == 2.0
    assert len(music.samples) == 3 * 16000
    odd = generators["a"].generate(PROMPT, seconds=1.01, continued=files["tone.wav"], candidates=1)
    assert len(odd.samples) == 2 * 16000 + 16160  # 1.01 s, which are 50.5 frames
    samples, rate = audio.read(files["tone.wav"])
    coder = codec.load("embedded", num_codebooks=4)
    codes = coder.encode(torch.from_numpy(samples[:1]))
    continued = coder.decode(codes)[0].numpy()
    # All but the codec's own reach into the future is the clip as the codec gives it back.
    assert np.abs(music.samples[: rate // 2] - continued[: rate // 2]).max() < 1e-3


@pytest.mark.parametrize("clip", ["tone.wav", "six.wav", "eight.wav", "long.wav"])
def test_any_clip_can_set_the_style(generators: dict[str, Generator], files: dict[str, Path], clip: str) -> None:
    plain = generators["b"].generate(PROMPT, seconds=0.5, candidates=1)
    styled = generators["b"].generate(PROMPT, seconds=0.5, candidates=1, style=files[clip])
    assert styled.samples.shape == (8000,)
    assert not np.array_equal(styled.samples, plain.samples)
    alike = generators["b"].generate(
        PROMPT, seconds=0.5, candidates=1, style=files[clip], sampling=Sampling(guidance=3.0, guidance_audio=0.0)
    )
    unguided = generators["b"].generate(PROMPT, seconds=0.5, candidates=1, sampling=Sampling(guidance=3.0))
    assert np.array_equal(alike.samples, unguided.samples)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([""], "prompt: it is empty"),
        (["x" * 10_000], "prompt: 10000 characters; at most 1000"),
        (["a fast techno beat " * 30], "tokens; the model reads at most 64"),
        (["テクノ"], "does not know 'テ' 'ク' 'ノ'"),
        ([PROMPT, "--audio", "{tone.wav}"], "this model takes no audio prompt"),
        ([PROMPT, "--model", "{b}", "--audio", "gone.wav"], "gone.wav: no such audio file"),
        ([PROMPT, "--model", "{b}", "--audio", "{empty.wav}"], "empty.wav: empty"),
        ([PROMPT, "--model", "{b}", "--audio", "{silent.wav}"], "silent.wav: silent"),
        ([PROMPT, "--model", "{b}", "--audio", "{nan.wav}"], "nan.wav: holds NaN"),
        ([PROMPT, "--model", "{b}", "--audio", "{short.wav}"], "short.wav: too short: 0.10 s, at least 1 s"),
        ([PROMPT, "--continue", "{text.wav}"], "text.wav: not audio that can be read"),
        ([PROMPT, "--guidance", "-1"], "guidance: found -1.0; it must be 0 or more"),
        ([PROMPT, "--guidance-audio", "-1"], "guidance_audio: found -1.0"),
        ([PROMPT, "--top-k", "-1"], "top_k: found -1"),
        ([PROMPT, "--top-k", "0"], "top_k: found 0; 1 (greedy) or more"),
        ([PROMPT, "--top-k", "513"], "top_k: found 513; at most 512"),
        ([PROMPT, "--temperature", "0"], "temperature: found 0.0; it must be above 0"),
        ([PROMPT, "--seconds", "301"], "seconds: found 301; above 0 and at most 300 are allowed"),
        ([PROMPT, "--candidates", "0"], "candidates: found 0; 1 to 64"),
        ([PROMPT, "--seed", "-1"], "seed: found -1"),
        ([PROMPT, "--tempo", "19.5"], "tempo: found 19.5; 20 to 400 BPM are allowed"),
        ([PROMPT, "--tempo", "401"], "tempo: found 401; 20 to 400 BPM are allowed"),
        ([PROMPT, "--model", "gone.safetensors", "--tempo", "nan"], "tempo: found nan"),
        ([PROMPT, "--tempo", "120"], "tempo: found 120, but this model has no beat condition"),
        ([PROMPT, "--model", "{other}"], "was trained with the codec 0123456789abcdef, but here it is"),
        ([PROMPT, "--model", "{cut}"], "cut.safetensors: not a whole safetensors file"),
        ([PROMPT, "--model", "{tone.wav}"], "tone.wav: not a whole safetensors file"),
        ([PROMPT, "--model", "gone.safetensors"], "gone.safetensors: there is no model file"),
        (["", "--model", "gone.safetensors"], "prompt: it is empty"),  # before a model is looked for
        ([PROMPT, "--model", "gone.safetensors", "--seconds", "nan"], "seconds: found nan"),
        ([PROMPT, "-o", "out.mp3"], "out.mp3: audio is written as .wav or .flac"),
    ],
)
def test_what_is_not_possible_is_named_and_nothing_is_written(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    given = [str(files[one[1:-1]]) if one.startswith("{") else one for one in arguments]
    defaults = ["--seconds", "0.2", "--candidates", "1", "--model", str(files["a"])]
    done = CliRunner().invoke(app, ["generate", *defaults, *given])
    assert done.exit_code == 2
    assert message in done.stderr
    assert "Traceback" not in done.output
    assert list(tmp_path.iterdir()) == []


def test_the_command_writes_a_file_and_says_how_fast(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = ["--seconds", "0.5", "--candidates", "2", "--model", str(files["b"]), "--audio", str(files["tone.wav"])]
    done = CliRunner().invoke(app, ["generate", PROMPT, *options, "-o", "beat.wav", "--threads", "1"])
    assert done.exit_code == 0, done.output
    assert "x real time" in done.stdout
    assert done.stdout.count("picked") == 1
    samples, rate = soundfile.read(tmp_path / "beat.wav")
    assert (len(samples), rate) == (8000, 16000)


@pytest.fixture
def told(generators: dict[str, Generator], monkeypatch: pytest.MonkeyPatch) -> list[list[Beat]]:
    """What model B, as if it had a beat condition and knew two tempi, is told in each generation."""
    found: list[list[Beat]] = []

    def record(conditions: Conditions, beats: list[Beat]) -> Conditions:
        assert len(conditions) == len(beats)
        found.append(beats)
        return conditions

    for module in (generator, tempo):
        monkeypatch.setattr(module, "takes_beat", lambda model: True)
    monkeypatch.setattr(generator, "with_beats", record)
    tempi = (torch.tensor([[0.5, 0.5]]), torch.tensor([70.0, 110.0]))
    monkeypatch.setattr(generators["b"].model, "tempos", lambda conditions: tempi, raising=False)
    return found


def test_the_model_is_told_the_tempo_that_was_asked_for_and_the_music_says_it(
    generators: dict[str, Generator], told: list[list[Beat]]
) -> None:
    def tempos(prompt: str, **options: Any) -> tuple[float, ...]:
        return generators["b"].generate(prompt, seconds=0.1, candidates=3, **options).tempos

    assert tempos(PROMPT, tempo=90.0) == (90.0,) * 3
    assert tempos(f"{PROMPT} It runs at 128 BPM.") == (128.0,) * 3
    assert tempos(f"{PROMPT} It runs at 128 BPM.", tempo=90.0) == (90.0,) * 3
    drawn = tempos(PROMPT, seed=4)
    assert set(drawn) <= {70.0, 110.0}
    assert drawn == tempos(PROMPT, seed=4)
    assert len({tempos(PROMPT, seed=seed) for seed in range(6)}) > 1
    assert [beat.beat_s for beats in told for beat in beats] == [0.0] * 3 * len(told)


@pytest.mark.parametrize("option", ["style", "continued"])
def test_the_beat_of_a_clip_goes_on(
    generators: dict[str, Generator], told: list[list[Beat]], tmp_path: Path, option: str
) -> None:
    # Clicks from 0.05 s on, every 0.6 s.
    soundfile.write(tmp_path / "clicks.wav", clicks(100.0, 3.1), 16000)
    music = generators["b"].generate(PROMPT, seconds=0.1, candidates=1, **{option: tmp_path / "clicks.wav"})  # type: ignore[arg-type]
    [[beat]] = told
    assert music.tempos == (beat.bpm,)
    assert beat.bpm == pytest.approx(100, rel=0.02)
    # Of a style's clip the first 3 s are read; what is continued counts from its own first frame.
    expected = {"style": 0.05 - 3.0, "continued": 0.05}[option]
    assert (beat.beat_s - expected + 0.3) % 0.6 == pytest.approx(0.3, abs=0.05)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "keep.wav"], "keep.wav: there is a folder of this name, which is kept"),
        (["-o", "/proc/x.wav"], "/proc/x.wav: nothing can be written here"),
        (["-o", "notes.txt/x.wav"], "notes.txt/x.wav: not the name of a file"),
        (["--continue", "song.wav", "-o", "song.wav"], "song.wav: it is an input as well"),
        (["--audio", "./song.wav", "-o", "song.wav"], "song.wav: it is an input as well"),
    ],
)
def test_where_nothing_can_be_written_is_named_before_a_model_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("notes.txt", "song.wav", "keep.wav/notes.txt"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text("mine")
    done = CliRunner().invoke(app, ["generate", PROMPT, "--model", "gone.safetensors", *arguments])
    assert done.exit_code == 2
    assert message in done.stderr
    assert "gone.safetensors" not in done.output
    assert {file.read_text() for file in tmp_path.rglob("*") if file.is_file()} == {"mine"}


def test_audio_is_not_written_over_a_folder(generators: dict[str, Generator], tmp_path: Path) -> None:
    (tmp_path / "keep.wav").mkdir()
    (tmp_path / "keep.wav" / "notes.txt").write_text("mine")
    music = generators["a"].generate(PROMPT, seconds=0.1, candidates=1)
    with pytest.raises(UserError, match=r"keep\.wav: there is a folder"):
        music.write(tmp_path / "keep.wav")
    assert (tmp_path / "keep.wav" / "notes.txt").read_text() == "mine"


def test_a_pickled_codec_is_loaded_only_if_it_is_trusted_here_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(shipped.path("codec"), tmp_path / "codec")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    digest = hashlib.sha256((folder / "pytorch_model.bin").read_bytes()).hexdigest()
    model = save(tmp_path / "a.safetensors", "a", name=str(folder))
    monkeypatch.chdir(tmp_path)
    command = ["generate", PROMPT, "--seconds", "0.2", "--candidates", "1", "--model", str(model)]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 2
    assert f"a pickle, which can run any code when it is loaded, with sha256 {digest}" in done.stderr
    assert CliRunner().invoke(app, [*command, "--trusted-pickles", digest]).exit_code == 0
    assert (tmp_path / "out.wav").exists()
