"""VGGish as torchvggish has it, and audio as audiocraft hands it to Google's tool."""

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from benchmarks import fad_tools
from musicgen_lite.errors import UserError
from musicgen_lite.scoring.audio import vggish
from musicgen_lite.scoring.audio.vggish import FRAMES, RATE, Vggish, VggishEmbedder
from tests.support.standins import SMALL_VGGISH, sine, small_vggish

FOUND: dict[str, Any] = json.loads(fad_tools.FOUND.read_text(encoding="utf-8"))


def test_the_frames_are_those_of_torchvggish() -> None:
    wave = fad_tools.recording(RATE, 3.3, 4)
    assert fad_tools.digest(wave) == FOUND["digests"]["vggish"]
    frames = vggish.log_mel(wave / 32768.0)
    examples = frames[: len(frames) // FRAMES * FRAMES].reshape(-1, FRAMES, vggish.BANDS)
    assert np.allclose(examples[:, ::16, ::8], FOUND["torchvggish"]["frames"], rtol=1e-6)


@pytest.mark.slow
def test_the_embeddings_are_those_of_torchvggish_with_the_same_weights() -> None:
    weights = fad_tools.vggish_weights()
    assert fad_tools.digest(weights["embeddings.4.weight"]) == FOUND["digests"]["vggish_weights"]
    model = Vggish()
    model.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    frames = vggish.log_mel(fad_tools.recording(RATE, 3.3, 4) / 32768.0)[: 3 * FRAMES]
    rows = VggishEmbedder(model.eval()).embed_examples(frames.reshape(3, FRAMES, vggish.BANDS))
    expected = np.array(FOUND["torchvggish"]["rows"])
    assert np.abs(rows[:, ::8] - expected).max() < 1e-4 * np.abs(expected).max()
    assert (rows < 0).any()  # no activation after the last layer


def heard_by_the_tool(wave: np.ndarray) -> np.ndarray:
    """The windows that audiocraft and Google's tool make of a waveform at 16 kHz, step by step as their code has it."""
    found = torch.from_numpy(wave)
    found = found * (10 ** (-1 / 20) / found.abs().max())
    samples = (found * 2**15).round().short().numpy().astype(np.float64)
    samples /= np.maximum(0.1, np.amax(samples))
    return np.stack([samples[i : i + 16000] for i in range(0, len(samples) - 16000 + 1, 8000)])


@pytest.mark.parametrize("seconds", [1.0, 1.49, 3.3])
def test_windows_and_level_are_those_of_audiocrafts_tool(seconds: float) -> None:
    wave = sine(440, seconds) - 0.1 * sine(900, seconds)
    windows = heard_by_the_tool(wave)
    examples = small_vggish().examples(wave)
    assert len(examples) == len(windows) == 1 + int((seconds - 1) / 0.5)
    assert np.allclose(examples, [vggish.log_mel(window)[:FRAMES] for window in windows], atol=1e-6)


def test_level_does_not_matter_and_short_and_silent_clips_have_a_row() -> None:
    embedder, wave = small_vggish(), sine(440, 2.0)
    assert np.allclose(embedder.embed(0.01 * wave, RATE), embedder.embed(wave, RATE), atol=1e-3)
    for clip in (sine(440, 0.3), np.zeros(RATE, np.float32)):
        rows = embedder.embed(clip, RATE)
        assert rows.shape == (1, embedder.dim)
        assert np.isfinite(rows).all()
    assert embedder.embed(sine(440, 2.0, 32000), 32000).shape == (3, embedder.dim)


def test_the_fingerprint_follows_the_weights() -> None:
    assert small_vggish().fingerprint == small_vggish().fingerprint != small_vggish(1).fingerprint


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vggish, "Vggish", functools.partial(Vggish, *SMALL_VGGISH))


def test_weights_are_read_from_a_pickle_of_tensors_or_from_safetensors(small: None, tmp_path: Path) -> None:
    expected = small_vggish()
    torch.save(expected.model.state_dict(), tmp_path / "vggish-10086976.pth")
    save_file(expected.model.state_dict(), tmp_path / "vggish.safetensors")
    for name in ("vggish-10086976.pth", "vggish.safetensors"):
        found = vggish.load(str(tmp_path / name))
        assert found.fingerprint == expected.fingerprint
        assert (len(found.origin["sha256"]), found.origin["published"]) == (64, "")
    assert VggishEmbedder(expected.model, "10086976ab").origin["published"] == "vggish-10086976.pth"


def test_weights_that_cannot_serve_are_named(small: None, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"score.vggish: there is no file 'gone.pth'; the release v0.1 of github.com/har"
    ):
        vggish.load("gone.pth")
    (tmp_path / "broken.pth").write_bytes(b"no weights")
    torch.save({"features.0.weight": torch.zeros(2)}, tmp_path / "other.pth")
    for name in ("broken.pth", "other.pth"):
        with pytest.raises(UserError, match=rf"{name}: not VGGish's weights by torchvggish's names"):
            vggish.load(str(tmp_path / name))
