"""LAION's checkpoints as ClapModels. That the embeddings stay the same is in test_laion, with the real package."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from musicgen_lite import clap
from musicgen_lite.clap.checkpoint import LaionCheckpoint
from musicgen_lite.clap.convert import config_of, convert, fill
from musicgen_lite.cli import app
from musicgen_lite.errors import UserError
from tests.support.laion import HEADS, SIZES, filled, layout, mel_filters, roberta, save

BASE = {
    "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072,
    "max_position_embeddings": 514, "type_vocab_size": 1, "vocab_size": 50265, "layer_norm_eps": 1e-5,
}  # fmt: skip


@pytest.fixture
def tensors(tmp_path: Path) -> dict[str, torch.Tensor]:
    """A small CLAP in LAION's layout; configuration and tokenizer of its RoBERTa lie in `roberta` beside it."""
    (roberta(tmp_path / "roberta", 32, 2) / "model.safetensors").unlink()
    vocabulary = json.loads((tmp_path / "roberta" / "vocab.json").read_text())
    shapes = layout(16, (1, 2, 1, 1), (1, 2, 2, 4), pieces=len(vocabulary), hidden=32, layers=1, inner=64)
    return filled(shapes)


def converted(folder: Path, tensors: dict[str, torch.Tensor], **options: Any) -> str:
    digest = save(folder / "laion.pt", tensors, **options)
    return convert(folder / "laion.pt", folder / "clap", [digest], str(folder / "roberta"))


@pytest.mark.parametrize("fusion", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_each_of_the_packages_sizes_finds_its_place(size: str, fusion: bool) -> None:
    from transformers import ClapModel

    width, depths = SIZES[size]
    shapes = layout(width, depths, fusion=fusion)
    with torch.device("meta"):
        checkpoint = LaionCheckpoint(
            Path("laion.pt"), "ab" * 32, {name: torch.zeros(shape) for name, shape in shapes.items()}
        )
        config = config_of(checkpoint, BASE)
        model = ClapModel(config)
        fill(model, checkpoint)
    audio = config.audio_config
    assert (tuple(audio.depths), tuple(audio.num_attention_heads), audio.window_size) == (depths, HEADS, 8)
    assert (audio.hidden_size, audio.patch_embeds_hidden_size, audio.num_mel_bins) == (8 * width, width, 64)
    assert (audio.enable_fusion, audio.fusion_type) == (fusion, "aff_2d" if fusion else None)
    assert (config.text_config.layer_norm_eps, config.text_config.num_hidden_layers, config.projection_dim) == (
        1e-5,
        12,
        512,
    )


def test_a_directory_that_loads_without_the_package(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    digest = save(tmp_path / "laion.pt", tensors)
    arguments = ["convert-clap", str(tmp_path / "laion.pt"), str(tmp_path / "clap"), "--sha256", digest]
    done = CliRunner().invoke(app, [*arguments, "--roberta", str(tmp_path / "roberta")])
    assert done.exit_code == 0, done.output
    scorer = clap.load(str(tmp_path / "clap"))
    assert scorer.fingerprint in done.output
    assert scorer.origin["sha256"] == digest
    assert (scorer.rate, scorer.window_s, scorer.dim) == (48000, 10.0, 512)
    assert np.isfinite(scorer.embed_clip(np.ones(48000, np.float32), 48000) @ scorer.embed_text(["rain"]).T).all()
    extractor = json.loads((tmp_path / "clap" / "preprocessor_config.json").read_text())
    wanted = {"frequency_min": 50, "frequency_max": 14000, "truncation": "rand_trunc", "padding": "repeatpad"}
    assert extractor.items() >= wanted.items()


def test_keys_queries_and_values_are_thirds_of_one_matrix(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    converted(tmp_path, tensors)
    held = load_file(tmp_path / "clap" / "model.safetensors")
    for kind in ("weight", "bias"):
        whole = tensors[f"audio_branch.layers.1.blocks.1.attn.qkv.{kind}"]
        for number, part in enumerate(("query", "key", "value")):
            name = f"audio_model.audio_encoder.layers.1.blocks.1.attention.self.{part}.{kind}"
            assert torch.equal(held[name], whole[32 * number : 32 * (number + 1)])


def test_positions_that_older_versions_kept_change_nothing(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "roberta").symlink_to(tmp_path / "roberta")
    assert converted(tmp_path, tensors) == converted(tmp_path / "new", tensors, positions=False)


def test_a_weight_and_a_name_count(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    before = converted(tmp_path, tensors)
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "roberta").symlink_to(tmp_path / "roberta")
    name = "audio_branch.layers.3.blocks.0.mlp.fc2.bias"
    assert converted(tmp_path / "new", tensors | {name: tensors[name] + 1e-3}) != before


FILTERS, NORM = "audio_branch.logmel_extractor.melW", "audio_branch.layers.0.blocks.0.norm1.bias"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"audio_branch.another.weight": torch.zeros(2)}, r"audio_model\.audio_encoder\.another\.weight in addition"),
        ({NORM: None}, r"no audio_model\.audio_encoder\.layers\.0\.blocks\.0\.layernorm_before\.bias"),
        ({NORM: torch.zeros(3)}, "not the architecture of its shapes.*layernorm_before"),
        ({FILTERS: mel_filters(fmin=0)}, "other filters than 64 mel bands of 50 to 14000 Hz"),
    ],
)
def test_what_is_left_over_or_missing_is_named(
    tmp_path: Path, tensors: dict[str, torch.Tensor], change: dict[str, Any], reason: str
) -> None:
    changed = {name: tensor for name, tensor in (tensors | change).items() if tensor is not None}
    with pytest.raises(UserError, match=f"(?s)laion.pt: .*{reason}"):
        converted(tmp_path, changed)
    assert not (tmp_path / "clap").exists()


def test_nothing_is_overwritten_and_nothing_untrusted_loaded(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    digest = save(tmp_path / "laion.pt", tensors)
    arguments = [
        "convert-clap",
        str(tmp_path / "laion.pt"),
        str(tmp_path / "clap"),
        "--roberta",
        str(tmp_path / "roberta"),
    ]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2
    assert f"with sha256 {digest}, which --sha256 does not hold" in done.output
    (tmp_path / "clap").mkdir()
    done = CliRunner().invoke(app, [*arguments, "--sha256", digest])
    assert done.exit_code == 2
    assert "clap: exists already; name a new directory" in done.output
    done = CliRunner().invoke(app, ["convert-clap", "gone.pt", "/proc/clap"])
    assert done.exit_code == 2
    assert "/proc/clap: nothing can be written here" in done.output  # before the checkpoint is looked for
