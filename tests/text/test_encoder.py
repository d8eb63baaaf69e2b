"""The text encoder: the same vectors with and without company, every text accepted, damaged files named."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from musicgen_lite import text
from musicgen_lite.errors import UserError
from musicgen_lite.text import TextEncoder

CAPTIONS = [
    "A fast techno beat with a synth lead.",
    "This is a relaxing piano melody with rain sounds. The tempo is 72 BPM. It has no drums, and it feels calm.",
    "Slow.",
]


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    return text.load("embedded")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A copy of the shipped encoder."""
    from musicgen_lite.pretrained import shipped

    return shutil.copytree(shipped.path("text"), tmp_path / "t5")


def test_padding_does_not_change_a_caption(encoder: TextEncoder) -> None:
    together = encoder.encode(CAPTIONS, 64)
    assert [len(states) for states in together] == encoder.num_tokens(CAPTIONS)
    assert len({len(states) for states in together}) == 3
    for caption, states in zip(CAPTIONS, together, strict=True):
        alone = encoder.encode([caption], 64)[0]
        assert states.shape == alone.shape == (len(states), encoder.dim)
        assert states.dtype == np.float32
        np.testing.assert_allclose(states, alone, atol=2e-5)


def test_agrees_with_transformers_own_loading(encoder: TextEncoder) -> None:
    import torch
    from transformers import AutoTokenizer, T5EncoderModel

    from musicgen_lite.pretrained import shipped

    folder = shipped.path("text")
    ids = AutoTokenizer.from_pretrained(folder)(CAPTIONS[1], return_tensors="pt").input_ids
    model = T5EncoderModel.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        expected = model(ids).last_hidden_state[0].numpy()
    np.testing.assert_allclose(encoder.encode([CAPTIONS[1]], 64)[0], expected, atol=2e-5)


def test_vectors_have_unit_scale(encoder: TextEncoder) -> None:
    states = np.concatenate(encoder.encode(CAPTIONS, 64))
    assert 0.3 < float(np.sqrt(np.mean(states**2))) < 3.0


def test_a_long_caption_is_cut_and_keeps_its_end(encoder: TextEncoder) -> None:
    long = " ".join([CAPTIONS[1]] * 20)
    assert encoder.num_tokens([long])[0] > 300
    cut, short = encoder.encode([long, CAPTIONS[2]], 16)
    assert len(cut) == 16
    assert len(short) == encoder.num_tokens([CAPTIONS[2]])[0] < 16
    again = encoder.encode([long + " And then some more."], 16)[0]
    np.testing.assert_allclose(cut, again, atol=2e-5)


@pytest.mark.parametrize("odd", ["", "   ", "\n", "音楽 🎵 Привет", "naïve Ünïcode", "\x00\x7f", "a" * 500])
def test_every_text_has_finite_vectors(encoder: TextEncoder, odd: str) -> None:
    states = encoder.encode([odd], 64)[0]
    assert 1 <= len(states) <= 64
    assert np.isfinite(states).all()


def test_unicode_is_spelled_rather_than_unknown(encoder: TextEncoder) -> None:
    first, second, blank = (states.mean(axis=0) for states in encoder.encode(["音楽 🎵", "Привет мир", ""], 64))
    assert not np.allclose(first, second, atol=1e-3)
    assert not np.allclose(first, blank, atol=1e-3)


def test_no_texts_give_no_vectors(encoder: TextEncoder) -> None:
    assert encoder.encode([], 8) == []
    assert encoder.num_tokens([]) == []


def test_tokens_of_many_texts_are_counted_in_order(encoder: TextEncoder) -> None:
    assert encoder.num_tokens(CAPTIONS * 700) == encoder.num_tokens(CAPTIONS) * 700


def test_fingerprint_follows_content_and_not_the_name(encoder: TextEncoder, directory: Path) -> None:
    assert text.load(str(directory)).fingerprint == encoder.fingerprint
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps({**config, "layer_norm_epsilon": 1e-3}))
    assert text.load(str(directory)).fingerprint != encoder.fingerprint


def damage_config(folder: Path) -> str:
    (folder / "config.json").write_text("{")
    return "cannot be loaded"


def remove_config(folder: Path) -> str:
    (folder / "config.json").unlink()
    return r"config\.json: this file is missing"


def remove_weights(folder: Path) -> str:
    (folder / "model.safetensors").unlink()
    return "no weights"


def halve_weights(folder: Path) -> str:
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])
    return "cannot be loaded"


def remove_tensor(folder: Path) -> str:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    del tensors["encoder.final_layer_norm.weight"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    return "lack 1 of what T5EncoderModel needs, such as encoder.final_layer_norm.weight"


def remove_tokenizer(folder: Path) -> str:
    (folder / "tokenizer.json").unlink()
    return "cannot be loaded"


def empty_tokenizer(folder: Path) -> str:
    from transformers import RobertaTokenizer

    (folder / "tokenizer.json").unlink()
    RobertaTokenizer().save_pretrained(folder)
    return r"only \d pieces"


@pytest.mark.parametrize(
    "damage",
    [damage_config, remove_config, remove_weights, halve_weights, remove_tensor, remove_tokenizer, empty_tokenizer],
)
def test_damaged_files_are_named(directory: Path, damage: Any) -> None:
    with pytest.raises(UserError, match=damage(directory)) as caught:
        text.load(str(directory))
    assert str(directory) in str(caught.value)


@pytest.mark.parametrize("name", ["/no/such/folder", "./no/such/folder"])
def test_a_missing_directory_is_named(name: str) -> None:
    with pytest.raises(UserError, match=f"text.name: there is no directory {name}"):
        text.load(name)


def test_a_hub_name_out_of_reach_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="'no-such-model-here' is none of embedded"):
        text.load("no-such-model-here")
