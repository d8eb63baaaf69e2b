"""Samples come back as they were written, by prompt, kind and candidate; their ids are nobody else's business."""

from pathlib import Path

import numpy as np
import pytest

from musicgen_lite.errors import UserError
from musicgen_lite.io import audio
from musicgen_lite.io.clips import Clip, ClipStore, ClipWriter
from musicgen_lite.io.samples import Sample, SampleStore, SampleWriter

RATE = 16000
SAMPLES = [
    Sample("a-1", "text", 1, 2**63, 0.25, True, "A beat."),
    Sample("a-1", "text", 0, 5, -0.5, False, "A beat."),
    Sample("a", "prompt", 1, 6, 0.125, True, "A beat.", 128.0),
    Sample("fixed-0", "fixed", 0, 7, 0.75, True, "A calm piano."),
]


def wave(number: int) -> np.ndarray:
    return np.full(160, number / 8, np.float32)


@pytest.fixture
def store(tmp_path: Path) -> SampleStore:
    writer = SampleWriter(tmp_path)
    for number, sample in enumerate(SAMPLES):
        writer.add(sample, wave(number), RATE)
    writer.close()
    return SampleStore(tmp_path)


def test_samples_come_back_whole_and_by_what_they_are(store: SampleStore) -> None:
    assert store.samples == SAMPLES
    assert len(store) == 4
    assert store.picked("text") == [SAMPLES[0]]
    assert store.candidates("text", "a-1") == [SAMPLES[1], SAMPLES[0]]
    assert store.candidates("text", "b") == []
    samples, rate = store.wave("prompt", "a", 1)
    np.testing.assert_allclose(samples, wave(2), atol=1e-4)
    assert rate == RATE
    np.testing.assert_allclose(audio.decode(store.flac(SAMPLES[3]))[0], wave(3), atol=1e-4)


def test_on_disk_they_are_clips_with_columns_of_their_own(store: SampleStore, tmp_path: Path) -> None:
    index = ClipStore(tmp_path).index
    assert index["id"].tolist() == ["text-a-1-1", "text-a-1-0", "prompt-a-1", "fixed-fixed-0-0"]
    assert index.filter(like="x_").columns.tolist() == [
        "x_kind",
        "x_candidate",
        "x_seed",
        "x_score",
        "x_picked",
        "x_bpm",
    ]
    assert index["x_seed"].tolist()[0] == str(2**63)


def test_a_sample_that_is_not_there_and_a_folder_of_other_clips_are_named(store: SampleStore, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no clip 'text-a-1-2' among its 4"):
        store.wave("text", "a-1", 2)
    (tmp_path / "clips").mkdir()
    clips = ClipWriter(tmp_path / "clips")
    clips.add(Clip("a", "a", "test", "A beat.", (), wave(1), RATE))
    clips.close()
    with pytest.raises(UserError, match=r"clips: no samples, the columns \['x_candidate', .* are missing"):
        SampleStore(tmp_path / "clips")
