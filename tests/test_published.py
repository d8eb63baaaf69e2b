"""MusicGen's checkpoints in this project's decoder: transformers' own MusicGen is the oracle."""

import hashlib
import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import soundfile
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from musicgen_lite import codec, published, text
from musicgen_lite.cli import app
from musicgen_lite.errors import UserError
from musicgen_lite.generation import Sampling, generate
from musicgen_lite.models import Conditions
from musicgen_lite.published import PretrainedMusicGen
from tests.support import musicgen_checkpoint

pytestmark = pytest.mark.slow
FRAMES = 70
CAPTIONS = [
    "A fast techno beat with a synth lead.",
    "This is a relaxing piano melody with rain sounds. The tempo is 72 BPM. It has no drums, and it feels calm.",
    "Slow.",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return musicgen_checkpoint.save(tmp_path_factory.mktemp("musicgen"), musicgen_checkpoint.build())


@pytest.fixture(scope="module")
def theirs(folder: Path) -> Any:
    from transformers import MusicgenForConditionalGeneration

    # Read back: put together in memory, its decoder has no kind of attention set, and is not causal.
    return MusicgenForConditionalGeneration.from_pretrained(folder).eval()


@pytest.fixture(scope="module")
def ours(folder: Path) -> PretrainedMusicGen:
    return published.load(str(folder), max_text=64)


def caption_conditions(ours: PretrainedMusicGen, captions: list[str]) -> Conditions:
    return Conditions.from_texts([torch.from_numpy(states) for states in ours.text.encode(captions, 64)])


def words(folder: Path) -> dict[str, torch.Tensor]:
    """The captions as transformers takes them: padded to the longest."""
    from transformers import AutoTokenizer

    return dict(AutoTokenizer.from_pretrained(folder)(CAPTIONS, padding=True, return_tensors="pt"))


@torch.no_grad()
def test_same_logits_for_captions_of_different_lengths_and_for_none(
    ours: PretrainedMusicGen, theirs: Any, folder: Path
) -> None:
    config = ours.model.config
    codes = torch.randint(0, config.codebook_size, (3, 4, FRAMES), generator=torch.Generator().manual_seed(0))
    layout = ours.model.pattern.layout(FRAMES, 4)
    inputs = layout.inputs(codes, config.codebook_size).transpose(1, 2).flatten(0, 1)
    captioned = words(folder)
    silent = {"attention_mask": torch.zeros(3, 1), "encoder_outputs": (torch.zeros(3, 1, ours.text.dim),)}
    given = caption_conditions(ours, CAPTIONS)
    found = []
    for conditions, their_conditions in ((given, captioned), (given.without_text(), silent)):
        logits = theirs(decoder_input_ids=inputs, **their_conditions).logits
        expected = layout.revert(logits.view(3, 4, layout.steps, -1).transpose(1, 2))
        found.append(ours.model(codes, conditions))
        assert expected.std() > 0.3
        torch.testing.assert_close(found[-1], expected, atol=2e-4, rtol=0)
    assert (found[0] - found[1]).abs().mean() > 0.1  # captions have an effect


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_same_greedy_codes(
    ours: PretrainedMusicGen, theirs: Any, folder: Path, guidance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(theirs.audio_encoder, "decode", lambda codes, audio_scales: SimpleNamespace(audio_values=codes))
        expected = theirs.generate(
            **words(folder), do_sample=False, guidance_scale=guidance, max_length=FRAMES + 4
        )[0, :, :, -FRAMES:]  # fmt: skip
    codes = generate(
        ours.model, caption_conditions(ours, CAPTIONS), FRAMES, Sampling(top_k=1, guidance=guidance), range(3)
    )
    assert min(len(row.unique()) for row in codes) > 8
    assert torch.equal(codes, expected)


def test_the_parts_of_a_checkpoint_are_found_by_its_name(folder: Path) -> None:
    """Fingerprints are of content: the shipped codec and encoder lie in the checkpoint, and are the same there."""
    assert codec.load(str(folder), num_codebooks=4).fingerprint == codec.load("embedded", num_codebooks=4).fingerprint
    assert text.load(str(folder)).fingerprint == text.load("embedded").fingerprint


def test_shards_half_precision_and_a_trusted_pickle_are_read(
    ours: PretrainedMusicGen, folder: Path, tmp_path: Path
) -> None:
    whole = ours.model.state_dict()
    shards = musicgen_checkpoint.save(tmp_path / "shards", musicgen_checkpoint.build(), max_shard_size="300KB")
    assert len(list(shards.glob("model-*.safetensors"))) > 3
    found = published.load(str(shards))
    assert all(torch.equal(tensor, whole[name]) for name, tensor in found.model.state_dict().items())
    assert (found.codec.fingerprint, found.text.fingerprint) == (ours.codec.fingerprint, ours.text.fingerprint)

    half = published.load(
        str(musicgen_checkpoint.save(tmp_path / "half", musicgen_checkpoint.build().half()))
    ).model.state_dict()
    assert all(torch.equal(half[name], tensor.half().float()) for name, tensor in whole.items())

    pickled = shutil.copytree(folder, tmp_path / "pickled")
    torch.save(load_file(pickled / "model.safetensors"), pickled / "pytorch_model.bin")
    (pickled / "model.safetensors").unlink()
    digest = hashlib.sha256((pickled / "pytorch_model.bin").read_bytes()).hexdigest()
    with pytest.raises(UserError, match=rf"pytorch_model\.bin: a pickle.*{digest}.*model\.musicgen\.name"):
        published.load(str(pickled))
    trusted = published.load(str(pickled), trusted=[digest])
    assert all(torch.equal(tensor, whole[name]) for name, tensor in trusted.model.state_dict().items())
    assert trusted.codec.fingerprint == ours.codec.fingerprint


def test_names_of_older_checkpoints_are_read(ours: PretrainedMusicGen, folder: Path, tmp_path: Path) -> None:
    """Published ones are of 2023: weight norm had other names, and positions were saved."""
    old = shutil.copytree(folder, tmp_path / "old")
    norms = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    tensors = load_file(old / "model.safetensors")
    for new, former in norms.items():
        tensors = {name.replace(new, former): tensor for name, tensor in tensors.items()}
    assert sum(name.endswith("weight_g") for name in tensors) > 10
    tensors["decoder.model.decoder.embed_positions.weights"] = torch.zeros(100, 32)
    save_file(tensors, old / "model.safetensors", {"format": "pt"})
    found = published.load(str(old))
    assert found.model.config.codec == ours.model.config.codec
    assert all(torch.equal(tensor, ours.model.state_dict()[name]) for name, tensor in found.model.state_dict().items())


@torch.no_grad()
def test_a_text_encoder_as_wide_as_the_decoder_is_read_as_it_is(tmp_path: Path) -> None:
    wide = musicgen_checkpoint.build(hidden_size=128, ffn_dim=512)
    assert not hasattr(wide, "enc_to_dec_proj")
    found = published.load(str(musicgen_checkpoint.save(tmp_path, wide)))
    memory = found.model.context(caption_conditions(found, CAPTIONS[:1])).memory
    assert memory is not None
    assert torch.equal(memory[0, 1:], torch.from_numpy(found.text.encode(CAPTIONS[:1], 64)[0]))


def kind(folder: Path) -> str:
    """A melody model's type in the configuration."""
    rewrite(folder, model_type="musicgen_melody")
    return "model_type in config.json is 'musicgen_melody', but"


def stereo(folder: Path) -> str:
    rewrite(folder, "decoder", audio_channels=2, num_codebooks=8)
    return "decoder.audio_channels is 2; only 1 is supported"


def activation(folder: Path) -> str:
    rewrite(folder, "decoder", activation_function="relu")
    return "decoder.activation_function is 'relu'; only 'gelu' is supported"


def width(folder: Path) -> str:
    rewrite(folder, "decoder", ffn_dim=64)
    return "decoder.ffn_dim is 64; only 128 is supported"


def without(folder: Path, name: str) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors[name]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def no_number(folder: Path) -> str:
    rewrite(folder, "decoder", hidden_size="wide")
    return "cannot be loaded"


def no_head(folder: Path) -> str:
    without(folder, "decoder.lm_heads.3.weight")
    return "its weights lack 'decoder.lm_heads.3.weight'"


def no_projection(folder: Path) -> str:
    without(folder, "enc_to_dec_proj.bias")
    return "its weights lack 'enc_to_dec_proj.bias'"


def no_codec(folder: Path) -> str:
    without(folder, "audio_encoder.decoder.layers.0.conv.bias")
    return "its weights lack 1 of what EncodecModel needs, such as decoder.layers.0.conv.bias"


def other_size(folder: Path) -> str:
    rewrite(folder, "decoder", vocab_size=500)
    return "cannot be loaded"


def cut_off(folder: Path) -> str:
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])
    return "cannot be loaded"


def no_part(folder: Path) -> str:
    config = json.loads((folder / "config.json").read_text())
    del config["audio_encoder"]
    (folder / "config.json").write_text(json.dumps(config))
    return "cannot be loaded, 'audio_encoder'"


def no_mapping(folder: Path) -> str:
    (folder / "config.json").write_text("[1, 2]")
    return "cannot be loaded"


def rewrite(folder: Path, part: str = "", **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (config[part] if part else config).update(changes)
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    "damage",
    [
        kind,
        stereo,
        activation,
        width,
        no_number,
        no_head,
        no_projection,
        no_codec,
        other_size,
        cut_off,
        no_part,
        no_mapping,
    ],
)
def test_what_is_no_whole_mono_musicgen_is_refused_by_name(folder: Path, tmp_path: Path, damage: Any) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    with pytest.raises(UserError, match=re.escape(damage(copy))) as caught:
        published.load(str(copy))
    assert str(copy) in str(caught.value)


def test_an_unknown_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(
        UserError, match=r"model\.musicgen\.name: 'nobody/musicgen' is not a directory, and the model hub"
    ):
        published.load("nobody/musicgen")


def test_music_is_made_by_the_directory_itself(folder: Path, tmp_path: Path) -> None:
    options = ["--seconds", "0.5", "--candidates", "1", "--model", str(folder), "-o", str(tmp_path / "out.wav")]
    done = CliRunner().invoke(app, ["generate", CAPTIONS[0], *options])
    assert done.exit_code == 0, done.output
    samples, rate = soundfile.read(tmp_path / "out.wav")
    assert (len(samples), rate) == (8000, 16000)
    arguments = ["--audio", str(tmp_path / "out.wav"), "-o", str(tmp_path / "no.wav")]
    done = CliRunner().invoke(app, ["generate", CAPTIONS[0], "--model", str(folder), *arguments])
    assert done.exit_code == 2
    assert "this model takes no audio prompt" in done.stderr
