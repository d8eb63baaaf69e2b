"""Token consistency, against codecs whose answer is known."""

from pathlib import Path

import numpy as np
import pytest
import torch

from musicgen_lite.scoring.audio.embeddings import Item
from musicgen_lite.scoring.audio.sets import ClipSet, reconstructed
from musicgen_lite.scoring.audio.token_consistency import token_consistency
from musicgen_lite.scoring.statistics.intervals import Bootstrap
from musicgen_lite.scoring.statistics.scores import Scores
from tests.support.standins import RATE, RoundingCodec, sine


class ShiftingCodec(RoundingCodec):
    """Two codebooks: the first comes back as it was, the second one higher, except on every fourth frame."""

    num_codebooks = 2

    def encode(self, wave: torch.Tensor) -> torch.Tensor:
        moved = super().encode(wave.abs()) + (wave < 0).long() * (torch.arange(wave.shape[1]) % 4 > 0).long()
        return torch.cat([super().encode(wave.abs()), moved], dim=1)

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        return -super().decode(codes)


def consistency(items: list[Item], codec: RoundingCodec, draws: int) -> Scores:
    samples = {clip: wave for clip, wave, _ in items}
    clips = ClipSet(list(samples), lambda clip: (samples[clip], RATE))
    return token_consistency(clips, reconstructed(clips, codec), codec, Bootstrap(draws))


def test_the_share_of_codes_that_stay_is_counted_in_all_and_per_codebook() -> None:
    clips = [(f"c{n}", np.abs(sine(110.0 * (n + 1), 0.1)) + 0.1, RATE) for n in range(5)]
    scores = consistency(clips, RoundingCodec(), 100)
    assert scores.estimates["token_consistency_reconstruction"].value == 1.0

    scores = consistency(clips, ShiftingCodec(), 100)
    found = {name.removeprefix("token_consistency_reconstruction"): one for name, one in scores.estimates.items()}
    assert {name: one.value for name, one in found.items()} == {"": 0.625, "_q1": 1.0, "_q2": 0.25}
    assert {one.n for one in found.values()} == {5}
    assert scores.tables["token_consistency"].columns.tolist() == ["id", "all", "q1", "q2"]
    assert scores.tables["token_consistency"]["id"].tolist() == [clip for clip, _, _ in clips]


def test_the_interval_is_of_clips() -> None:
    """Half of the clips keep all codes and half keep none: the share is a half, and its interval that of ten clips."""

    class Deaf(RoundingCodec):
        def decode(self, codes: torch.Tensor) -> torch.Tensor:
            return super().decode(codes if int(codes.max()) < 40 else codes - 1)

    clips = [(f"c{n}", np.full(100, 0.5 * (n % 2), np.float32), RATE) for n in range(10)]
    found = consistency(clips, Deaf(), 2000).estimates["token_consistency_reconstruction"]
    assert found.value == 0.5
    deviation = 0.5 / 10**0.5
    assert found.low == pytest.approx(0.5 - 1.96 * deviation, abs=0.06)
    assert found.high == pytest.approx(0.5 + 1.96 * deviation, abs=0.06)


def test_a_kept_reconstruction_is_decoded_once_for_all_who_hear_it(tmp_path: Path) -> None:
    class Counting(RoundingCodec):
        decoded = 0

        def decode(self, codes: torch.Tensor) -> torch.Tensor:
            Counting.decoded += 1
            return super().decode(codes)

    waves = {f"a/c{n}": sine(110.0 * (n + 1), 0.1) for n in range(3)}
    clips, codec = ClipSet(list(waves), lambda clip: (waves[clip], RATE)), Counting()
    expected = [samples for _, samples, _ in reconstructed(clips, RoundingCodec())]
    for _ in range(2):  # the second as in a run that goes on
        kept = reconstructed(clips, codec, tmp_path)
        for heard in (list(kept), list(kept)):
            assert [(clip, rate) for clip, _, rate in heard] == [(clip, RATE) for clip in waves]
            np.testing.assert_array_equal([samples for _, samples, _ in heard], expected)
    assert Counting.decoded == len(waves)
