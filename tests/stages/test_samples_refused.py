"""Samples on disk that cannot be scored whole stop the stage by name: nothing is left out."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from musicgen_lite.errors import UserError
from musicgen_lite.io.clips import Clip, ClipStore, ClipWriter
from musicgen_lite.io.files import atomic_dir
from musicgen_lite.scoring.audio.embedders import ClapEmbedder, MelEmbedder
from musicgen_lite.scoring.audio.scores import Audio, embed_all, reference_audio, score_generated
from stages.score_audio import generated
from tests.support.standins import RATE, RoundingCodec, ToneClap, sine

HZ = {f"t{i}": 220.0 * 2 ** (i / 6) for i in range(12)}
REFERENCE, PROMPTS = sorted(HZ)[::2], sorted(HZ)[1::2]
CLAP = ToneClap()
RULERS = [ClapEmbedder(CLAP), MelEmbedder()]
SETS = embed_all(
    reference_audio(
        Audio(REFERENCE, lambda clip: (sine(HZ[clip]), RATE)), Audio(PROMPTS, lambda clip: (sine(HZ[clip]), RATE)),
        RoundingCodec(), 0,
    ),
    RULERS,
)  # fmt: skip
Rows = list[dict[str, object]]


def row(prompt: str, candidate: int, rate: int = RATE) -> Clip:
    extra = {"kind": "text", "candidate": candidate, "picked": candidate == 0}
    wave = sine(HZ[prompt] * (1 + 0.1 * candidate), 1.0, rate)
    return Clip(f"text-{prompt}-{candidate}", prompt, "test", str(HZ[prompt]), (), wave, rate, extra)


def written(folder: Path, change: Callable[[Rows], object] = lambda rows: None, **replaced: Clip) -> Path:
    """Samples of two candidates a prompt; `change` edits the rows of the shard, audio bytes included."""
    with atomic_dir(folder) as part:
        writer = ClipWriter(part)
        for prompt in PROMPTS:
            for candidate in (0, 1):
                own = row(prompt, candidate)
                writer.add(replaced.get(f"{prompt}_{candidate}", own))
        writer.close()
        (shard,) = part.glob("clips-*.parquet")
        rows = pq.read_table(shard).to_pylist()
        change(rows)
        pq.write_table(pa.Table.from_pylist(rows), shard)
    return folder


def score(folder: Path) -> dict[str, float]:
    samples = generated(ClipStore(folder), "text", 2, {prompt: prompt for prompt in PROMPTS})
    return score_generated(samples, SETS, RULERS, CLAP, bootstrap=100).metrics


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
    folder = written(tmp_path / "samples", **{f"{PROMPTS[2]}_1": row(PROMPTS[2], 1, 8000)})
    with pytest.raises(UserError, match=f"'{PROMPTS[2]}#1': 8000 Hz, but clip '{PROMPTS[0]}#0' has 16000 Hz"):
        score(folder)


def test_a_shard_that_is_no_parquet_file_is_named(tmp_path: Path) -> None:
    folder = written(tmp_path / "samples")
    (shard,) = folder.glob("clips-*.parquet")
    shard.write_bytes(np.zeros(1000, np.uint8).tobytes())
    with pytest.raises(UserError, match=r"clips-00000\.parquet: not a readable Parquet file"):
        ClipStore(folder)
