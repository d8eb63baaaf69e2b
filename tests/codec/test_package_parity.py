"""The `encodec` package with the same weights: its own encoder, quantiser and decoder give the same codes and waveform."""

import hashlib
import re
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import EncodecModel

from musicgen_lite import codec
from tests.support import codec_real, codec_tiny


def package_state(model: EncodecModel) -> dict[str, Tensor]:
    """The weights under their names in the `encodec` package, which wraps each convolution once more, keeps the older
    weight norm, and calls the rest differently too."""
    transposed = {
        f"decoder.layers.{number}."
        for number, layer in enumerate(model.decoder.layers)
        if type(layer).__name__ == "EncodecConvTranspose1d"
    }

    def renamed(key: str) -> str:
        if key.startswith("quantizer."):
            return key.replace("quantizer.", "quantizer.vq.").replace(".codebook.", "._codebook.")
        name = ".convtr.convtr." if key.startswith(tuple(transposed)) else ".conv.conv."
        key = re.sub(r"^(encoder|decoder)\.layers\.", r"\1.model.", key).replace(".conv.", name)
        return key.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        )

    return {renamed(key): value for key, value in model.state_dict().items()}


@pytest.mark.parametrize("size", ["tiny", pytest.param("encodec_32khz", marks=pytest.mark.slow)])
def test_codes_and_waveforms_agree_with_the_modules_of_the_package(tmp_path: Path, size: str) -> None:
    pytest.importorskip("encodec")
    from encodec.modules.seanet import SEANetDecoder, SEANetEncoder
    from encodec.quantization import ResidualVectorQuantizer

    model = codec_tiny.model() if size == "tiny" else codec_real.model(32000, 4)
    model.save_pretrained(tmp_path)
    config, books = model.config, len(model.quantizer.layers)
    sizes = {
        "dimension": config.hidden_size, "n_filters": config.num_filters, "ratios": config.upsampling_ratios,
        "lstm": config.num_lstm_layers, "causal": False, "true_skip": True,
    }  # fmt: skip
    quantiser = ResidualVectorQuantizer(dimension=config.hidden_size, n_q=books, bins=config.codebook_size)
    theirs = torch.nn.ModuleDict(
        {"encoder": SEANetEncoder(**sizes), "decoder": SEANetDecoder(**sizes), "quantizer": quantiser}
    ).eval()
    theirs.load_state_dict(package_state(model), strict=True)
    ours = codec.load(str(tmp_path), num_codebooks=books)
    wave = codec_tiny.waves(1, codec_tiny.HOP * 25) if size == "tiny" else codec_real.waves(1, 32000, 32000)
    with torch.no_grad():
        codes = quantiser.encode(theirs["encoder"](wave.unsqueeze(1)), ours.frame_rate).transpose(0, 1)
        again = theirs["decoder"](quantiser.decode(codes.transpose(0, 1))).squeeze(1)
    assert torch.equal(ours.encode(wave), codes)
    assert torch.equal(ours.decode(codes), again)


@pytest.mark.slow
def test_at_24_khz_both_backends_are_one_codec(tmp_path: Path) -> None:
    encodec = pytest.importorskip("encodec")
    model = codec_real.model(24000, 8)
    model.save_pretrained(tmp_path / "hub")
    torch.save(package_state(model), tmp_path / "package.th")
    digest = hashlib.sha256((tmp_path / "package.th").read_bytes()).hexdigest()
    wave = codec_real.waves(2, 24000, 24000)
    package = encodec.EncodecModel.encodec_model_24khz(pretrained=False)
    package.load_state_dict(package_state(model))
    for kbps, books in ((3.0, 4), (6.0, 8)):
        ours = codec.load(str(tmp_path / "hub"), num_codebooks=books)
        theirs = codec.load(str(tmp_path / "package.th"), num_codebooks=books, trusted=[digest])
        assert (theirs.rate, theirs.hop, theirs.frame_rate, theirs.codebook_size) == (24000, 320, 75, 1024)
        assert theirs.fingerprint == ours.fingerprint
        codes = ours.encode(wave)
        assert torch.equal(theirs.encode(wave), codes)
        assert torch.equal(theirs.decode(codes), ours.decode(codes))
        package.set_target_bandwidth(kbps)
        with torch.no_grad():
            ((expected, _),) = package.encode(wave.unsqueeze(1))
        assert torch.equal(expected, codes)
