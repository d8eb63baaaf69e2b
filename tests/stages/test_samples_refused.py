"""Samples on disk that cannot be scored whole stop the stage by name: nothing is left out."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from musicgen_lite.errors import UserError
from musicgen_lite.io.files import atomic_dir
from musicgen_lite.io.samples import Sample, SampleStore, SampleWriter
from musicgen_lite.scoring.audio.embedders import Embedders
from musicgen_lite.scoring.audio.scores import score_generated
from musicgen_lite.scoring.audio.sets import (
    ClipSet,
    ReferenceClips,
    as_noise,
    embed_reference,
    generated_set,
    reconstructed,
)
from musicgen_lite.scoring.statistics.intervals import Bootstrap
from tests.support.standins import RATE, RoundingCodec, ToneClap, sine

HZ = {f"t{i}": 220.0 * 2 ** (i / 6) for i in range(12)}
REFERENCE, PROMPTS = sorted(HZ)[::2], sorted(HZ)[1::2]
CODEC = RoundingCodec()
EMBEDDERS = Embedders(ToneClap(), CODEC)
OTHER, REAL = (ClipSet(ids, lambda clip: (sine(HZ[clip]), RATE)) for ids in (REFERENCE, PROMPTS))
SETS = embed_reference(
    ReferenceClips({}, {}, OTHER, REAL, reconstructed(REAL, CODEC), as_noise(REAL, 0), REAL), EMBEDDERS
)
Rows = list[dict[str, object]]
Rates = dict[tuple[str, int], int]


def sample(prompt: str, candidate: int) -> Sample:
    return Sample(prompt, "text", candidate, 7, 0.5, candidate == 0, str(HZ[prompt]))


def wave(prompt: str, candidate: int, rate: int = RATE) -> tuple[np.ndarray, int]:
    return sine(HZ[prompt] * (1 + 0.1 * candidate), 1.0, rate), rate


def written(folder: Path, change: Callable[[Rows], object] = lambda rows: None, rates: Rates | None = None) -> Path:
    """Samples of two candidates per prompt; `change` edits the rows of the shard, audio bytes included."""
    with atomic_dir(folder) as part:
        writer = SampleWriter(part)
        for prompt in PROMPTS:
            for candidate in (0, 1):
                rate = (rates or {}).get((prompt, candidate), RATE)
                writer.add(sample(prompt, candidate), *wave(prompt, candidate, rate))
        writer.close()
        (shard,) = part.glob("clips-*.parquet")
        rows = pq.read_table(shard).to_pylist()
        change(rows)
        pq.write_table(pa.Table.from_pylist(rows), shard)
    return folder


def score(folder: Path) -> dict[str, float]:
    samples = generated_set(SampleStore(folder), "text", 2, {prompt: prompt for prompt in PROMPTS})
    return score_generated(samples, SETS, EMBEDDERS, Bootstrap(100)).metrics


def test_whole_samples_are_scored(tmp_path: Path) -> None:
    assert score(written(tmp_path / "samples"))["clap"] == pytest.approx(1, abs=0.01)


def broken_audio(rows: Rows) -> None:
    rows[3]["audio"] = b"fLaC" + bytes(100)


def nobody_picked(rows: Rows) -> None:
    rows[2]["x_picked"] = False


def two_picked(rows: Rows) -> None:
    rows[3]["x_picked"] = True


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (broken_audio, f"text-{PROMPTS[1]}-1: not audio that can be read"),
        (lambda rows: rows.pop(1), f"no clip 'text-{PROMPTS[0]}-1' among its 11"),
        (lambda rows: rows.append(rows[0]), f"the id 'text-{PROMPTS[0]}-0' occurs twice"),
        (two_picked, f"picked samples of kind text: the id '{PROMPTS[1]}' occurs twice"),
        (nobody_picked, f"set generated, compared with set real: no entry for 1 .*'{PROMPTS[1]}'"),
        (lambda rows: rows.__delitem__(slice(2, None)), "picked samples of kind text: 1 clip"),
    ],
    ids=["corrupt", "missing", "twice", "picked twice", "not picked", "one only"],
)
def test_samples_that_are_not_whole_are_refused_by_name(
    tmp_path: Path, change: Callable[[Rows], object], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        score(written(tmp_path / "samples", change))


def test_a_second_rate_is_refused_by_name(tmp_path: Path) -> None:
    folder = written(tmp_path / "samples", rates={(PROMPTS[2], 1): 8000})
    with pytest.raises(UserError, match=f"'{PROMPTS[2]}#1': 8000 Hz, but clip '{PROMPTS[0]}#0' has 16000 Hz"):
        score(folder)


def test_a_shard_that_is_no_parquet_file_is_named(tmp_path: Path) -> None:
    folder = written(tmp_path / "samples")
    (shard,) = folder.glob("clips-*.parquet")
    shard.write_bytes(np.zeros(1000, np.uint8).tobytes())
    with pytest.raises(UserError, match=r"clips-00000\.parquet: not a readable Parquet file"):
        SampleStore(folder)
