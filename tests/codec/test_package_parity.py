"""The `encodec` package with the same weights: its own encoder, quantiser and decoder give the same codes and waveform."""

import re
from pathlib import Path

import pytest
import torch

from musicgen_lite import codec

from . import tiny


def package_key(key: str) -> str:
    """A weight's name in the `encodec` package, which wraps each convolution once more and keeps the older weight norm."""
    part, layers = key.split(".layers.", 1)
    transposed = part == "decoder" and re.fullmatch(r"\d+\.conv\..*", layers) and int(layers.split(".")[0]) in (3, 6)
    wrapped = layers.replace(".conv.", ".convtr.convtr." if transposed else ".conv.conv.")
    return "model." + wrapped.replace("parametrizations.weight.original0", "weight_g").replace(
        "parametrizations.weight.original1", "weight_v"
    )


def test_codes_and_waveforms_agree(tmp_path: Path) -> None:
    pytest.importorskip("encodec")
    from encodec.modules.seanet import SEANetDecoder, SEANetEncoder
    from encodec.quantization import ResidualVectorQuantizer

    ours = codec.load(str(tiny.save(tmp_path / "tiny")), tiny.BOOKS)
    sizes = {"dimension": 8, "n_filters": 4, "ratios": [5, 4], "lstm": 1, "causal": False, "true_skip": True}
    halves = {"encoder": SEANetEncoder(**sizes).eval(), "decoder": SEANetDecoder(**sizes).eval()}
    state = tiny.model().state_dict()
    for name, half in halves.items():
        half.load_state_dict(
            {package_key(key): value for key, value in state.items() if key.startswith(f"{name}.")}, strict=True
        )
    quantiser = ResidualVectorQuantizer(dimension=8, n_q=tiny.BOOKS, bins=tiny.SIZE).eval()
    for layer, vectors in zip(quantiser.vq.layers, ours.codebooks(), strict=True):
        layer._codebook.embed.copy_(vectors)
        layer._codebook.inited.fill_(1.0)
    wave = tiny.waves(2, tiny.HOP * 25)
    with torch.no_grad():
        codes = quantiser.encode(halves["encoder"](wave.unsqueeze(1)), tiny.RATE // tiny.HOP).transpose(0, 1)
        again = halves["decoder"](quantiser.decode(codes.transpose(0, 1))).squeeze(1)
    assert torch.equal(ours.encode(wave), codes)
    torch.testing.assert_close(ours.decode(codes), again, rtol=0, atol=1e-6)
