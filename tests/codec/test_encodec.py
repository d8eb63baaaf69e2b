"""The codec behind its protocol: shapes, independence of the batch, identity of weights, and the errors of bad files."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import EncodecModel

from musicgen_lite import codec
from musicgen_lite.codec import encodec, neural
from musicgen_lite.errors import UserError
from musicgen_lite.io.audio import num_frames
from musicgen_lite.pretrained import shipped
from tests.support import codec_tiny


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return codec_tiny.save(tmp_path_factory.mktemp("codec") / "tiny")


@pytest.mark.parametrize("seconds", [5.0, 5.01, 1.0, 0.1, 0.77, 0.33001])
def test_frames_are_counted_as_the_codec_makes_them(seconds: float) -> None:
    """Among them 5.01 s, which are 250.5 frames: a model that was made for 250 of them could not read 251."""
    shipped = codec.load("embedded", num_codebooks=1)
    codes = shipped.encode(codec_tiny.waves(1, round(seconds * shipped.rate)))
    assert codes.shape[2] == num_frames(seconds, shipped.rate, shipped.frame_rate)


@pytest.mark.parametrize(
    ("samples", "frames"), [(codec_tiny.HOP * 7, 7), (codec_tiny.HOP * 7 + 1, 8), (codec_tiny.HOP * 8 - 1, 8)]
)
def test_shapes_follow_the_number_of_samples(directory: Path, samples: int, frames: int) -> None:
    loaded = codec.load(str(directory), num_codebooks=codec_tiny.BOOKS)
    codes = loaded.encode(codec_tiny.waves(2, samples))
    assert codes.shape == (2, codec_tiny.BOOKS, frames)
    assert codes.dtype == torch.int64
    assert 0 <= int(codes.min()) <= int(codes.max()) < loaded.codebook_size == codec_tiny.SIZE
    assert len(codes.unique()) > 1
    wave = loaded.decode(codes)
    assert wave.shape == (2, frames * codec_tiny.HOP)
    assert wave.dtype == torch.float32
    assert loaded.latents(codec_tiny.waves(2, samples)).shape == (2, 8, frames)
    assert (loaded.rate, loaded.hop, loaded.frame_rate) == (
        codec_tiny.RATE,
        codec_tiny.HOP,
        codec_tiny.RATE // codec_tiny.HOP,
    )


@pytest.mark.parametrize("number", [1, 2, 3])
def test_codes_are_the_nearest_vectors_of_what_is_left(directory: Path, number: int) -> None:
    """The greedy search of residual quantisation, in float64 and one distance at a time."""
    loaded = codec.load(str(directory), num_codebooks=number)
    wave = codec_tiny.waves(1, codec_tiny.HOP * 9)
    codes = loaded.encode(wave)
    assert codes.shape[1] == number
    books = loaded.codebooks().double()
    assert books.shape == (number, codec_tiny.SIZE, 8)
    left = loaded.latents(wave)[0].T.double()
    for book, row in zip(books, codes[0], strict=True):
        distances = (left.unsqueeze(1) - book.unsqueeze(0)).square().sum(-1)
        assert torch.equal(distances.argmin(1), row)
        left = left - book[row]


def test_a_row_is_the_same_in_any_batch(directory: Path) -> None:
    loaded = codec.load(str(directory), num_codebooks=codec_tiny.BOOKS)
    wave = codec_tiny.waves(5, codec_tiny.HOP * 30)
    codes = loaded.encode(wave)
    assert torch.equal(codes, torch.cat([loaded.encode(row) for row in wave.split(1)]))
    assert torch.equal(loaded.decode(codes), torch.cat([loaded.decode(row) for row in codes.split(1)]))
    assert torch.equal(loaded.latents(wave)[3:], loaded.latents(wave[3:]))


def test_half_precision_files_load_in_float32_and_give_the_same_codes(tmp_path: Path) -> None:
    saved = codec_tiny.save(tmp_path / "half", half=True)
    loaded = codec.load(str(saved), num_codebooks=codec_tiny.BOOKS)
    assert loaded.codebooks().dtype == torch.float32
    rounded = codec_tiny.model().half().float()
    wave = codec_tiny.waves(2, codec_tiny.HOP * 40)
    expected = rounded.encode(wave.unsqueeze(1), bandwidth=rounded.config.target_bandwidths[-1]).audio_codes[0]
    assert torch.equal(loaded.encode(wave), expected)


def test_fingerprint_is_of_weights_and_codebooks_in_use_not_of_names(directory: Path, tmp_path: Path) -> None:
    prints = {
        "same elsewhere": codec.load(str(codec_tiny.save(tmp_path / "copy")), num_codebooks=3).fingerprint,
        "other weights": codec.load(str(codec_tiny.save(tmp_path / "other", seed=1)), num_codebooks=3).fingerprint,
        "fewer codebooks": codec.load(str(directory), num_codebooks=2).fingerprint,
    }
    ours = codec.load(str(directory), num_codebooks=3).fingerprint
    assert prints.pop("same elsewhere") == ours
    assert ours not in prints.values()


def test_one_changed_weight_changes_the_fingerprint(directory: Path, tmp_path: Path) -> None:
    changed = codec_tiny.model()
    with torch.no_grad():
        changed.decoder.layers[0].conv.bias[0] += 1e-3
    changed.save_pretrained(tmp_path / "changed")
    assert (
        codec.load(str(tmp_path / "changed"), num_codebooks=3).fingerprint
        != codec.load(str(directory), num_codebooks=3).fingerprint
    )


@pytest.mark.parametrize("number", [0, 4])
def test_a_number_of_codebooks_it_does_not_have_is_named(directory: Path, number: int) -> None:
    with pytest.raises(UserError, match=rf"codec\.num_codebooks: found {number}.*1 to 3"):
        codec.load(str(directory), num_codebooks=number)


def test_wrong_shapes_and_codes_are_refused(directory: Path) -> None:
    loaded = codec.load(str(directory), num_codebooks=2)
    with pytest.raises(ValueError, match=r"\[B, T\]"):
        loaded.encode(torch.zeros(2, 1, 100))
    with pytest.raises(ValueError, match=r"\[B, 2, T\]"):
        loaded.decode(torch.zeros(1, 3, 5, dtype=torch.long))
    with pytest.raises(ValueError, match=f"0..{codec_tiny.SIZE - 1}"):
        loaded.decode(torch.full((1, 2, 5), codec_tiny.SIZE))


def test_damaged_incomplete_and_foreign_directories_are_named(tmp_path: Path) -> None:
    cut = codec_tiny.save(tmp_path / "cut") / "model.safetensors"
    cut.write_bytes(cut.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"codec\.name.*cut.*cannot be loaded"):
        codec.load(str(cut.parent), num_codebooks=3)
    gone = codec_tiny.save(tmp_path / "gone")
    (gone / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"gone.*no weights in it"):
        codec.load(str(gone), num_codebooks=3)
    foreign = codec_tiny.save(tmp_path / "foreign")
    config = json.loads((foreign / "config.json").read_text())
    (foreign / "config.json").write_text(json.dumps(config | {"model_type": "mimi"}))
    with pytest.raises(
        UserError, match=r"model_type in config.json is 'mimi', but codec.name needs 'encodec' or 'dac'"
    ):
        codec.load(str(foreign), num_codebooks=3)
    (foreign / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"foreign.*cannot be loaded"):
        codec.load(str(foreign), num_codebooks=3)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty.config\.json: this file is missing; codec\.name"):
        codec.load(str(tmp_path / "empty"), num_codebooks=3)


def test_missing_tensors_are_not_made_up(tmp_path: Path) -> None:
    place = codec_tiny.save(tmp_path / "short") / "model.safetensors"
    tensors = load_file(place)
    tensors.pop("decoder.layers.0.conv.bias")
    save_file(tensors, place, metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"lack 1 of what EncodecModel needs, such as decoder\.layers\.0\.conv\.bias"):
        codec.load(str(place.parent), num_codebooks=3)


def test_an_untrained_model_is_named(tmp_path: Path) -> None:
    untrained = codec_tiny.model()
    untrained.quantizer.layers[1].codebook.embed.zero_()
    untrained.save_pretrained(tmp_path / "untrained")
    assert codec.load(str(tmp_path / "untrained"), num_codebooks=1).num_codebooks == 1
    with pytest.raises(UserError, match="codebook 1 is all zeros"):
        codec.load(str(tmp_path / "untrained"), num_codebooks=2)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"chunk_length_s": 1.0, "overlap": 0.01}, "chunk_length_s 1.0"),
        ({"audio_channels": 2, "normalize": True}, "audio_channels 2, normalize True"),
        ({"norm_type": "time_group_norm"}, "norm_type time_group_norm"),
    ],
)
def test_a_stereo_levelled_or_chunked_codec_is_named(tmp_path: Path, change: dict[str, object], found: str) -> None:
    config = codec_tiny.model().config
    for key, value in change.items():
        setattr(config, key, value)
    EncodecModel(config).save_pretrained(tmp_path / "other")
    with pytest.raises(UserError, match=rf"other': {found}; only mono codecs.*use embedded, facebook/encodec_32khz"):
        codec.load(str(tmp_path / "other"), num_codebooks=3)


def test_a_pickle_is_loaded_only_with_its_sha256(tmp_path: Path) -> None:
    folder = codec_tiny.save(tmp_path / "old")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    digest = hashlib.sha256((folder / "pytorch_model.bin").read_bytes()).hexdigest()
    with pytest.raises(UserError, match=rf"pytorch_model\.bin: a pickle.*{digest}.*codec\.name.*trusted_pickles"):
        codec.load(str(folder), num_codebooks=3, trusted=["0" * 64])
    safe = codec.load(str(codec_tiny.save(tmp_path / "new")), num_codebooks=3)
    assert codec.load(str(folder), num_codebooks=3, trusted=[digest]).fingerprint == safe.fingerprint


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("samples", [codec_tiny.HOP * 100, codec_tiny.HOP * 121 + 1, codec_tiny.HOP * 139 + 7])
def test_long_audio_goes_in_pieces_that_give_what_the_whole_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, causal: bool, samples: int
) -> None:
    codec_tiny.model(causal=causal).save_pretrained(tmp_path)
    whole = codec.load(str(tmp_path), num_codebooks=codec_tiny.BOOKS)
    monkeypatch.setattr(neural, "PIECE_S", 0.4)  # 20 frames
    pieces = codec.load(str(tmp_path), num_codebooks=codec_tiny.BOOKS)
    wave = codec_tiny.waves(2, samples)
    codes = whole.encode(wave)
    assert torch.equal(pieces.encode(wave), codes)
    torch.testing.assert_close(pieces.latents(wave), whole.latents(wave), rtol=0, atol=1e-6)
    torch.testing.assert_close(pieces.decode(codes), whole.decode(codes), rtol=0, atol=1e-6)
    assert pieces.fingerprint != whole.fingerprint

    # Without what lies around a piece its first and last frames would hear padding.
    monkeypatch.setattr(encodec, "CONTEXT_S", 0.0)
    apart = codec.load(str(tmp_path), num_codebooks=codec_tiny.BOOKS).decode(codes) - whole.decode(codes)
    joins = torch.arange(samples // (20 * codec_tiny.HOP) + 1) * 20 * codec_tiny.HOP
    assert float(apart.abs().max()) > 1e-2
    far = torch.stack([(torch.arange(apart.shape[1]) - join).abs() for join in joins]).amin(0) > 4 * codec_tiny.HOP
    assert float(apart[:, far].abs().max()) < 1e-6


@pytest.mark.parametrize("samples", [1, 4, codec_tiny.HOP * 19 + 1, codec_tiny.HOP * 20])
def test_audio_of_one_piece_is_never_cut(directory: Path, monkeypatch: pytest.MonkeyPatch, samples: int) -> None:
    monkeypatch.setattr(neural, "PIECE_S", 0.4)
    loaded, model = codec.load(str(directory), num_codebooks=codec_tiny.BOOKS), codec_tiny.model()
    wave = codec_tiny.waves(2, samples)
    with torch.no_grad():
        assert torch.equal(loaded.latents(wave), torch.cat([model.encoder(row[:, None]) for row in wave.split(1)]))
        codes = loaded.encode(wave)
        heard = [model.decode(row[None], [None]).audio_values[:, 0] for row in codes.split(1)]
    assert torch.equal(loaded.decode(codes), torch.cat(heard))


def test_an_unknown_name_without_a_network_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=r"codec\.name: 'nobody/no-such-codec' is none of embedded"):
        codec.load("nobody/no-such-codec", num_codebooks=4)


def test_the_shipped_codec_is_whole_and_small() -> None:
    loaded = codec.load("embedded", num_codebooks=4)
    assert (loaded.rate, loaded.frame_rate, loaded.num_codebooks) == (16000, 50, 4)
    assert (shipped.path("codec") / "model.safetensors").stat().st_size < 12e6
    time = torch.arange(16000) / 16000
    wave = 0.1 * torch.sin(2 * torch.pi * 220 * time).unsqueeze(0)
    codes = loaded.encode(wave)
    assert codes.shape == (1, 4, 50)
    again = loaded.decode(codes)
    # A plain tone of a bass register comes back in tune: the strongest frequency is the tone's.
    assert int(torch.fft.rfft(again[0]).abs().argmax()) == pytest.approx(220, abs=2)
