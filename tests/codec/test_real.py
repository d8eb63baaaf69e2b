"""The real configurations of EnCodec against transformers' own calls."""

from pathlib import Path

import pytest
import torch

from musicgen_lite import codec
from musicgen_lite.codec import neural
from tests.support import codec_real


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rate", "kbps", "books", "size", "frame_rate"), [(32000, 2.2, 4, 2048, 50), (24000, 3.0, 4, 1024, 75)]
)
def test_codes_are_those_of_the_stated_bandwidth_and_pieces_give_what_the_whole_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rate: int, kbps: float, books: int, size: int, frame_rate: int
) -> None:
    model = codec_real.model(rate, books)
    model.save_pretrained(tmp_path)
    ours = codec.load(str(tmp_path), num_codebooks=books)
    assert (ours.rate, ours.codebook_size, ours.frame_rate) == (rate, size, frame_rate)
    wave = codec_real.waves(1, rate * 5 // 4, rate)
    with torch.no_grad():
        expected = model.encode(wave.unsqueeze(1), bandwidth=kbps).audio_codes[0]
        heard = model.decode(expected[None], [None]).audio_values.squeeze(1)
    assert expected.shape[1] == books
    assert torch.equal(ours.encode(wave), expected)
    assert torch.equal(ours.decode(expected), heard)
    assert all(len(row.unique()) > 20 for row in expected[0])

    monkeypatch.setattr(neural, "PIECE_S", 0.6)
    pieces = codec.load(str(tmp_path), num_codebooks=books)
    assert torch.equal(pieces.encode(wave), expected)
    torch.testing.assert_close(pieces.decode(expected), heard, rtol=0, atol=1e-6)
