"""T5 as others publish it: whole checkpoints of both generations, and tokenizers that come as tokenizer.json alone."""

import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import Unigram
from tokenizers.pre_tokenizers import Metaspace, WhitespaceSplit
from tokenizers.pre_tokenizers import Sequence as InTurn
from tokenizers.processors import TemplateProcessing
from transformers import T5Config, T5ForConditionalGeneration

from musicgen_lite import text
from musicgen_lite.errors import UserError
from musicgen_lite.pretrained import Source, load_tokenizer, shipped
from musicgen_lite.sources import musiccaps
from musicgen_lite.text.hub import T5TextEncoder

REAL_TOKENIZER, REAL_TABLE = "MUSICGEN_LITE_T5_TOKENIZER", "MUSICGEN_LITE_MUSICCAPS_CSV"
needs_tokenizer = pytest.mark.skipif(
    not os.environ.get(REAL_TOKENIZER), reason=f"{REAL_TOKENIZER} does not name the tokenizer.json of t5-base"
)
needs_table = pytest.mark.skipif(
    not os.environ.get(REAL_TABLE), reason=f"{REAL_TABLE} does not name the real MusicCaps table"
)
CAPTIONS = ["A fast techno beat with a synth lead.", "Slow.", "Calm piano, rain sounds and no drums at all.", "Calm."]
FAMILIES: dict[str, dict[str, Any]] = {
    "t5": {"feed_forward_proj": "relu"},
    "flan-t5": {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
}


def whole_model(folder: Path, **changes: Any) -> T5ForConditionalGeneration:
    """A tiny encoder and decoder with random weights, saved as those of the hub are, with the shipped tokenizer."""
    torch.manual_seed(0)
    sizes = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4, "vocab_size": 2048}
    model = T5ForConditionalGeneration(T5Config(**sizes, **changes)).eval()
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(shipped.path("text") / name, folder)
    return model


@pytest.mark.parametrize("family", FAMILIES)
def test_the_encoder_of_a_whole_checkpoint_gives_what_transformers_gives(
    tmp_path: Path, family: str, capfd: pytest.CaptureFixture[str]
) -> None:
    model = whole_model(tmp_path, **FAMILIES[family])
    stored = load_file(tmp_path / "model.safetensors")
    assert any(name.startswith("decoder.") for name in stored)
    assert any("wi_1" in name for name in stored) == (family == "flan-t5")
    capfd.readouterr()
    encoder = text.load(str(tmp_path))
    assert capfd.readouterr().err == ""  # what is left out is no news
    tokens = load_tokenizer(Source("text.name", "", tmp_path))(CAPTIONS, padding=True, return_tensors="pt")
    with torch.no_grad():
        expected = model.encoder(**tokens).last_hidden_state.numpy()
    for row, states in enumerate(encoder.encode(CAPTIONS, 64)):
        assert states.shape == (int(tokens.attention_mask[row].sum()), encoder.dim)
        np.testing.assert_allclose(states, expected[row, : len(states)], atol=2e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_name_of_the_embedding_in_the_file_does_not_matter(tmp_path: Path, family: str) -> None:
    whole_model(tmp_path, **FAMILIES[family])
    stored = load_file(tmp_path / "model.safetensors")
    table = stored.pop("shared.weight")
    found = set()
    # Checkpoints of the hub hold it under one of these names, or under several.
    for names in (["shared"], ["encoder.embed_tokens"], ["shared", "encoder.embed_tokens", "decoder.embed_tokens"]):
        tables = {f"{name}.weight": table.clone() for name in names}
        save_file(stored | tables, tmp_path / "model.safetensors", {"format": "pt"})
        found.add(text.load(str(tmp_path)).fingerprint)
    assert len(found) == 1


@pytest.mark.parametrize("model_type", ["umt5", "bert", None])
def test_an_architecture_that_only_looks_like_t5_is_refused(tmp_path: Path, model_type: str | None) -> None:
    whole_model(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "model_type": model_type}))
    with pytest.raises(UserError, match=rf"text\.name .*model_type in config\.json is {model_type!r}.*needs 't5'"):
        text.load(str(tmp_path))


@pytest.mark.parametrize("factor", [1e6, float("nan"), float("inf")])
def test_vectors_that_half_precision_cannot_hold_are_named(tmp_path: Path, factor: float) -> None:
    whole_model(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    stored["encoder.final_layer_norm.weight"] *= factor
    save_file(stored, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"text\.name .*the text 'Slow\.' has a vector with .*ends at 65504"):
        text.load(str(tmp_path)).encode(["Slow."], 64)


class Echo:
    """A T5 whose vectors are the ids that it was given."""

    def __init__(self, device: str = "cpu") -> None:
        self.config, self.device = T5Config(d_model=1), torch.device(device)
        self.seen: list[torch.Tensor] = []

    def state_dict(self) -> dict[str, torch.Tensor]:
        return {}

    def __call__(self, input_ids: torch.Tensor) -> SimpleNamespace:
        self.seen.append(input_ids)
        shown = input_ids if input_ids.device.type == "cpu" else torch.zeros(input_ids.shape)
        return SimpleNamespace(last_hidden_state=shown[..., None].float())


def read_ids(tokenizer: Any, texts: list[str], max_tokens: int) -> list[list[int]]:
    """The ids that reach the model, text by text."""
    return [states[:, 0].astype(int).tolist() for states in T5TextEncoder(Echo(), tokenizer).encode(texts, max_tokens)]


def tokenizer_of(folder: Path, file: Path) -> Any:
    """What is loaded from a folder with a T5's config.json and the tokenizer `file` alone."""
    T5Config().save_pretrained(folder)
    shutil.copy(file, folder / "tokenizer.json")
    return load_tokenizer(Source("text.name", "t5-base", folder))


@pytest.fixture
def own_tokenizer(tmp_path: Path) -> Any:
    """A tokenizer of the form of T5's: whole words, and letters for the rest; the id is the place in the list."""
    words = ["<pad>", "</s>", "<unk>", "▁", "▁the", "▁house", "▁is", "."]
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    tokenizer = Tokenizer(Unigram([(p, -1.0) for p in words] + [(p, -9.0) for p in letters], 2, False))
    tokenizer.pre_tokenizer = InTurn([WhitespaceSplit(), Metaspace()])
    tokenizer.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer.save(str(tmp_path / "made.json"))
    return tokenizer_of(tmp_path / "made", tmp_path / "made.json")


def test_ids_that_are_known_and_the_end_kept_where_a_text_is_cut(own_tokenizer: Any) -> None:
    a = 8
    texts = ["the house is.", "the bad house", "the house the house is.", ""]
    assert read_ids(own_tokenizer, texts, 8) == [
        [4, 5, 6, 7, 1], [4, 3, a + 1, a, a + 3, 5, 1], [4, 5, 4, 5, 6, 7, 1], [1],
    ]  # fmt: skip
    assert read_ids(own_tokenizer, texts, 4) == [[4, 5, 6, 1], [4, 3, a + 1, 1], [4, 5, 4, 1], [1]]
    assert T5TextEncoder(Echo(), own_tokenizer).num_tokens(texts) == [5, 7, 7, 1]


@needs_tokenizer
def test_ids_of_the_real_tokenizer(tmp_path: Path) -> None:
    tokenizer = tokenizer_of(tmp_path, Path(os.environ[REAL_TOKENIZER]))
    sentence = "translate English to German: The house is wonderful."
    known = [13959, 1566, 12, 2968, 10, 37, 629, 19, 1627, 5, 1]
    assert read_ids(tokenizer, [sentence], 64) == [known]
    assert read_ids(tokenizer, [sentence], 6) == [[*known[:5], 1]]
    assert T5TextEncoder(Echo(), tokenizer).unknown_characters("The house is naïve 音楽.") == ["ï", "音", "楽"]


@needs_tokenizer
@needs_table
@pytest.mark.slow
def test_how_many_of_the_real_captions_are_cut(tmp_path: Path) -> None:
    tokenizer = tokenizer_of(tmp_path, Path(os.environ[REAL_TOKENIZER]))
    captions = [entry.caption for entry in musiccaps.read(Path(os.environ[REAL_TABLE]), lambda *_: None)]
    lengths = np.array(T5TextEncoder(Echo(), tokenizer).num_tokens(captions))
    assert (len(captions), lengths.max()) == (5521, 172)
    assert [int((lengths > limit).sum()) for limit in (64, 128, 192)] == [3121, 81, 0]
    cut = read_ids(tokenizer, captions, 64)
    assert [len(ids) for ids in cut] == np.minimum(lengths, 64).tolist()
    assert {ids[-1] for ids in cut} == {1}


def test_batches_hold_every_text_once_those_of_a_length_side_by_side() -> None:
    lengths = [3, 9, 3, 5, 9, 3, 3]
    assert text.batches(lengths, 3) == [[1, 4, 3], [0, 2, 5], [6]]
    assert text.batches([], 3) == []


def test_texts_of_equal_length_go_together_to_the_device_of_the_model(own_tokenizer: Any) -> None:
    model = Echo("meta")
    texts = ["the house", "the", "is the house is", "is.", "house is"]
    found = T5TextEncoder(model, own_tokenizer).encode(texts, 64)
    assert [tuple(ids.shape) for ids in model.seen] == [(1, 2), (3, 3), (1, 5)]
    assert {ids.device.type for ids in model.seen} == {"meta"}
    assert [states.shape for states in found] == [(3, 1), (2, 1), (5, 1), (3, 1), (3, 1)]
