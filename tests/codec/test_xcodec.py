"""X-Codec behind the protocol of codecs: equal to transformers' own class, alone and in a batch, and refused by name."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from musicgen_lite import codec
from musicgen_lite.codec import neural
from musicgen_lite.errors import UserError
from musicgen_lite.scoring.audio.embedders import CodecLatentEmbedder
from tests.support import codec_tiny

BOOKS = 8


def loaded(directory: Path, books: int = BOOKS) -> codec.Codec:
    return codec.load(str(directory), num_codebooks=books)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return codec_tiny.save_xcodec(tmp_path_factory.mktemp("codec") / "xcodec")


@pytest.mark.parametrize("books", [1, 3, 8])
@pytest.mark.parametrize("samples", [codec_tiny.HOP * 30, codec_tiny.HOP * 30 + 7])
def test_codes_and_waveforms_are_those_of_the_class(directory: Path, books: int, samples: int) -> None:
    ours, model, wave = loaded(directory, books), codec_tiny.xcodec(), codec_tiny.waves(1, samples)
    filled = functional.pad(wave, (0, -samples % codec_tiny.HOP)).unsqueeze(1)
    with torch.no_grad():
        expected = model.encode(filled, bandwidth=model.config.target_bandwidths[books - 1]).audio_codes
        heard = model.decode(expected).audio_values[:, 0]
    codes = ours.encode(wave)
    assert torch.equal(codes, expected)
    assert codes.shape == (1, books, filled.shape[2] // codec_tiny.HOP)
    assert all(len(row.unique()) > 2 for row in codes[0])
    again = ours.decode(codes)
    assert again.shape == heard.shape == (1, filled.shape[2])
    torch.testing.assert_close(again, heard, rtol=0, atol=1e-5)
    assert float(heard.std()) > 0.05
    assert (ours.rate, ours.hop, ours.frame_rate, ours.codebook_size) == (1000, 20, 50, 16)


def test_codes_are_the_nearest_vectors_of_what_is_left_of_the_latents(directory: Path) -> None:
    ours, wave = loaded(directory), codec_tiny.waves(1, codec_tiny.HOP * 9)
    left, codes = ours.latents(wave)[0].T.double(), ours.encode(wave)[0]
    assert CodecLatentEmbedder(ours).dim == left.shape[1] == 16
    for book, row in zip(ours.codebooks().double(), codes, strict=True):
        assert torch.equal(torch.cdist(left, book).argmin(1), row)
        left = left - book[row]


def test_a_row_is_the_same_in_any_batch(directory: Path) -> None:
    ours, wave = loaded(directory), codec_tiny.waves(5, codec_tiny.HOP * 30)
    codes = ours.encode(wave)
    assert torch.equal(codes, torch.cat([ours.encode(row) for row in wave.split(1)]))
    assert torch.equal(ours.decode(codes), torch.cat([ours.decode(row) for row in codes.split(1)]))
    assert torch.equal(ours.latents(wave)[3:], ours.latents(wave[3:]))


def test_long_codes_are_decoded_in_pieces_that_give_what_the_whole_gives(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = loaded(directory)
    codes = whole.encode(codec_tiny.waves(2, codec_tiny.HOP * 139))
    monkeypatch.setattr(neural, "PIECE_S", 0.4)  # 20 frames
    pieces = loaded(directory)
    expected = whole.decode(codes)
    torch.testing.assert_close(pieces.decode(codes), expected, rtol=0, atol=1e-5)
    monkeypatch.setattr(pieces, "context", 0)
    assert float((pieces.decode(codes) - expected).abs().max()) > 1e-2


def test_fingerprint_is_of_weights_and_codebooks_in_use(directory: Path, tmp_path: Path) -> None:
    changed, unused = codec_tiny.xcodec(), codec_tiny.xcodec()
    with torch.no_grad():
        changed.semantic_model.encoder.layer_norm.bias[0] += 1e-3
        unused.quantizer.quantizers[7].codebook.embed[0] += 1.0
        unused.fc1.bias[0] += 1.0
    changed.save_pretrained(tmp_path / "changed")
    unused.save_pretrained(tmp_path / "unused")
    ours = loaded(directory).fingerprint
    assert loaded(codec_tiny.save_xcodec(tmp_path / "copy")).fingerprint == ours
    others = {loaded(tmp_path / name).fingerprint for name in ("changed", "unused")}
    assert len({ours, loaded(directory, 7).fingerprint} | others) == 4
    assert loaded(tmp_path / "unused", 7).fingerprint == loaded(directory, 7).fingerprint


def test_an_untrained_or_damaged_one_and_too_many_codebooks_are_named(directory: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"codec\.num_codebooks: found 9; .* has 1 to 8"):
        loaded(directory, 9)
    untrained = codec_tiny.xcodec()
    untrained.quantizer.quantizers[1].codebook.embed.zero_()
    untrained.save_pretrained(tmp_path / "untrained")
    with pytest.raises(UserError, match="codebook 1 is all zeros"):
        loaded(tmp_path / "untrained")
    cut = codec_tiny.save_xcodec(tmp_path / "cut") / "model.safetensors"
    cut.write_bytes(cut.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"codec\.name.*cut.*cannot be loaded"):
        loaded(cut.parent)
