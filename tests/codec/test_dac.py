"""DAC behind the protocol of codecs: equal to transformers' own class, alone and in a batch, and refused by name."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional
from transformers import DacConfig, DacModel

from musicgen_lite import codec
from musicgen_lite.codec import neural
from musicgen_lite.errors import UserError
from musicgen_lite.io.audio import num_frames
from musicgen_lite.scoring.audio.embedders import CodecLatentEmbedder
from tests.support import codec_tiny

BOOKS = 9


def loaded(directory: Path, books: int = BOOKS) -> codec.Codec:
    return codec.load(str(directory), num_codebooks=books)


def filled(wave: torch.Tensor, hop: int) -> torch.Tensor:
    """`[B, 1, T]` with zeros up to whole frames, as DacModel needs it."""
    return functional.pad(wave, (0, -wave.shape[-1] % hop)).unsqueeze(1)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return codec_tiny.save_dac(tmp_path_factory.mktemp("codec") / "dac")


@pytest.mark.parametrize(
    ("ratios", "rate", "frame_rate", "lost"),
    [((2, 5, 2), 1000, 50, 2), ((2, 4, 5, 8), 24000, 75, 8), ((2, 4, 8, 8), 44100, 86.1328125, 0)],
)
@pytest.mark.parametrize("books", [1, 8, 9])
def test_codes_and_waveforms_are_those_of_the_class(
    tmp_path: Path, ratios: tuple[int, ...], rate: int, frame_rate: float, lost: int, books: int
) -> None:
    """The strides of the published models, with frame rates that are not whole and strides that lose samples."""
    model = codec_tiny.dac(ratios=ratios, rate=rate)
    model.save_pretrained(tmp_path)
    ours = loaded(tmp_path, books)
    assert (ours.rate, ours.hop * frame_rate, ours.frame_rate, ours.codebook_size) == (rate, rate, frame_rate, 16)
    wave = codec_tiny.waves(1, ours.hop * 40 + 3)
    with torch.no_grad():
        expected = model.encode(filled(wave, ours.hop), n_quantizers=books).audio_codes
        heard = model.decode(audio_codes=expected).audio_values
    codes = ours.encode(wave)
    assert torch.equal(codes, expected)
    assert codes.shape == (1, books, 41)
    assert codes.dtype == torch.int64
    assert all(len(row.unique()) > 4 for row in codes[0])
    again = ours.decode(codes)
    assert again.shape == (1, 41 * ours.hop)
    assert heard.shape == (1, 41 * ours.hop - lost)
    torch.testing.assert_close(again[:, : heard.shape[1]], heard, rtol=0, atol=1e-5)
    assert 0.05 < float(heard.std()) < 0.9
    assert not again[:, heard.shape[1] :].any()


@pytest.mark.parametrize("seconds", [5.0, 2.51, 1.01, 0.33001, 0.011])
def test_frames_are_counted_as_the_codec_makes_them(tmp_path: Path, seconds: float) -> None:
    ours = loaded(codec_tiny.save_dac(tmp_path / "dac", ratios=(3, 7, 7), rate=44100, books=1), 1)  # 300 Hz
    assert ours.frame_rate == 300
    other = loaded(codec_tiny.save_dac(tmp_path / "other", ratios=(3, 3, 11), rate=44100, books=1), 1)
    assert isinstance(other.frame_rate, float)  # 445.45… Hz
    for one in (ours, other):
        for samples in (round(seconds * 44100), one.hop * 31, one.hop * 31 + 1):
            frames = one.encode(codec_tiny.waves(1, samples)).shape[2]
            assert frames == num_frames(samples / 44100, one.rate, one.frame_rate)


def test_latents_are_about_the_sum_of_the_vectors_of_their_codes(directory: Path) -> None:
    """As far as DacModel's own quantised representation goes."""
    ours, model, wave = loaded(directory), codec_tiny.dac(), codec_tiny.waves(1, codec_tiny.HOP * 30)
    with torch.no_grad():
        torch.testing.assert_close(ours.latents(wave), model.encoder(wave[:, None]), rtol=0, atol=1e-4)
        quantised = model.encode(wave[:, None]).quantized_representation[0]
    books, codes = ours.codebooks(), ours.encode(wave)[0]
    assert books.shape == (BOOKS, codec_tiny.SIZE, quantised.shape[0])
    summed = sum(book[row] for book, row in zip(books, codes, strict=True))
    torch.testing.assert_close(summed.T, quantised, rtol=0, atol=1e-4)


def test_a_row_is_the_same_in_any_batch(directory: Path) -> None:
    ours, wave = loaded(directory), codec_tiny.waves(5, codec_tiny.HOP * 30)
    codes = ours.encode(wave)
    assert torch.equal(codes, torch.cat([ours.encode(row) for row in wave.split(1)]))
    assert torch.equal(ours.decode(codes), torch.cat([ours.decode(row) for row in codes.split(1)]))
    assert torch.equal(ours.latents(wave)[3:], ours.latents(wave[3:]))


@pytest.mark.parametrize("ratios", [(2, 5, 2), (4, 5), (5, 4)])
@pytest.mark.parametrize("frames", [100, 121, 139])
def test_long_audio_goes_in_pieces_that_give_what_the_whole_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ratios: tuple[int, ...], frames: int
) -> None:
    codec_tiny.save_dac(tmp_path, ratios=ratios)
    whole, wave = loaded(tmp_path), codec_tiny.waves(2, codec_tiny.HOP * frames - 7)
    monkeypatch.setattr(neural, "PIECE_S", 0.4)  # 20 frames
    pieces = loaded(tmp_path)
    codes = whole.encode(wave)
    assert torch.equal(pieces.encode(wave), codes)
    expected = whole.decode(codes)
    torch.testing.assert_close(pieces.decode(codes), expected, rtol=0, atol=1e-5)
    assert pieces.fingerprint != whole.fingerprint

    # A frame of context less than the convolutions hear is heard where pieces meet: what is kept is not far too much.
    monkeypatch.setattr(pieces, "context", 0)
    assert float((pieces.decode(codes) - expected).abs().max()) > 1e-2


@pytest.mark.parametrize("frames", [6, 40])
def test_a_frame_is_decided_by_its_context(directory: Path, frames: int) -> None:
    """Streaming decodes a frame once its context is there: what follows that changes nothing, what is in it does."""
    ours = loaded(directory)
    codes = ours.encode(codec_tiny.waves(1, codec_tiny.HOP * 2 * (ours.context + frames)))
    other, end = codes.clone(), frames * codec_tiny.HOP
    other[:, :, frames + ours.context :] = (other[:, :, frames + ours.context :] + 1) % codec_tiny.SIZE
    torch.testing.assert_close(ours.decode(other)[:, :end], ours.decode(codes)[:, :end], rtol=0, atol=1e-6)
    other[:, :, frames] = (other[:, :, frames] + 1) % codec_tiny.SIZE
    assert float((ours.decode(other) - ours.decode(codes))[:, :end].abs().max()) > 1e-3


def test_audio_is_embedded_by_the_latents_of_each_second(tmp_path: Path) -> None:
    ours = loaded(codec_tiny.save_dac(tmp_path, ratios=(8, 8, 8), rate=44100))
    space = CodecLatentEmbedder(ours)
    wave = codec_tiny.waves(1, 3 * 44100)
    rows = space.embed(wave[0].numpy(), 44100)
    assert rows.shape == (3, space.dim)  # of 86 frames each: the one frame that is left is no window
    latents = ours.latents(wave)[0]
    torch.testing.assert_close(torch.from_numpy(rows[1]), latents[:, 86:172].mean(1), rtol=0, atol=1e-4)


def test_fingerprint_is_of_weights_and_codebooks_in_use_not_of_names(directory: Path, tmp_path: Path) -> None:
    ours = loaded(directory).fingerprint
    assert loaded(codec_tiny.save_dac(tmp_path / "copy")).fingerprint == ours
    changed = codec_tiny.dac()
    with torch.no_grad():
        changed.decoder.conv1.bias[0] += 1e-3
    changed.save_pretrained(tmp_path / "changed")
    unused = codec_tiny.dac()
    with torch.no_grad():
        unused.quantizer.quantizers[8].codebook.weight[0] += 1.0
    unused.save_pretrained(tmp_path / "unused")
    others = [loaded(tmp_path / "changed"), loaded(tmp_path / "unused"), loaded(directory, 8)]
    others.append(loaded(codec_tiny.save_dac(tmp_path / "rate", rate=2000)))
    assert len({ours, *(one.fingerprint for one in others)}) == 5
    assert loaded(tmp_path / "unused", 8).fingerprint == loaded(directory, 8).fingerprint


def test_half_precision_files_load_in_float32(tmp_path: Path) -> None:
    codec_tiny.dac().half().save_pretrained(tmp_path)
    wave, rounded = codec_tiny.waves(2, codec_tiny.HOP * 40), codec_tiny.dac().half().float()
    with torch.no_grad():
        assert torch.equal(loaded(tmp_path).encode(wave), rounded.encode(wave[:, None]).audio_codes)


@pytest.mark.parametrize("number", [0, 10])
def test_a_number_of_codebooks_it_does_not_have_is_named(directory: Path, number: int) -> None:
    with pytest.raises(UserError, match=rf"codec\.num_codebooks: found {number}; .* has 1 to 9"):
        loaded(directory, number)


def test_damaged_stereo_and_foreign_directories_are_named(tmp_path: Path) -> None:
    cut = codec_tiny.save_dac(tmp_path / "cut") / "model.safetensors"
    cut.write_bytes(cut.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"codec\.name.*cut.*cannot be loaded"):
        loaded(cut.parent)
    short = codec_tiny.save_dac(tmp_path / "short") / "model.safetensors"
    tensors = load_file(short)
    save_file({name: one for name, one in tensors.items() if name != "decoder.conv2.bias"}, short, {"format": "pt"})
    with pytest.raises(UserError, match=r"lack 1 of what DacModel needs, such as decoder\.conv2\.bias"):
        loaded(short.parent)
    stereo = codec_tiny.save_dac(tmp_path / "stereo") / "model.safetensors"
    tensors["encoder.conv1.weight"] = tensors["encoder.conv1.weight"].repeat(1, 2, 1)
    save_file(tensors, stereo, {"format": "pt"})
    with pytest.raises(UserError, match=r"codec\.name.*stereo.*"):
        loaded(stereo.parent)
    foreign = codec_tiny.save_dac(tmp_path / "foreign") / "config.json"
    config = json.loads(foreign.read_text())
    foreign.write_text(json.dumps(config | {"model_type": "mimi"}))
    with pytest.raises(
        UserError, match=r"model_type in config.json is 'mimi', but codec.name needs 'encodec' or 'dac'"
    ):
        loaded(foreign.parent)


@pytest.mark.parametrize("change", [{"upsampling_ratios": [5, 2, 3]}, {"downsampling_ratios": [20, 1]}])
def test_strides_that_make_no_whole_frames_are_named(tmp_path: Path, change: dict[str, list[int]]) -> None:
    ratios = {"downsampling_ratios": [2, 5, 2], "upsampling_ratios": [2, 5, 2]} | change
    config = DacConfig(**{**codec_tiny.dac().config.to_dict(), **ratios})
    config.upsampling_ratios = ratios["upsampling_ratios"]
    config.hidden_size = config.encoder_hidden_size * 2 ** len(config.downsampling_ratios)
    DacModel(config).save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"codec\.name .*downsampling_ratios \[.*same product, of factors from 2 on"):
        loaded(tmp_path)


def test_the_real_architecture_hears_less_than_a_piece_gives(tmp_path: Path) -> None:
    """The default sizes of DacModel at their real width, with few codebooks: 16 kHz, hop 512."""
    with torch.device("meta"):
        model = DacModel(DacConfig(sampling_rate=44100))
    from musicgen_lite.codec.dac import reach

    assert max(reach(model.encoder, 1, 512), reach(model.decoder, 512, 512)) == 11
