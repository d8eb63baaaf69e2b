"""Clips come back from any number of shards, of which few are open at a time."""

from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest

from musicgen_lite.errors import UserError
from musicgen_lite.io import clips
from musicgen_lite.io.clips import Clip, ClipStore, ClipWriter

RATE = 8000


def clip(number: int) -> Clip:
    samples = np.sin(np.arange(400 + number) * (0.1 + number / 100)).astype(np.float32)
    aspects = tuple("abc"[: number % 4])
    # Only some clips have a genre, so that shards differ in their columns' types.
    extra = {"genre": "jazz" if number > 20 else None, "bpm": float(number)}
    split = clips.SPLITS[number % 3]
    return Clip(f"clip-{number}", f"track-{number // 2}", split, f"Caption {number}.", aspects, samples, RATE, extra)


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in {"CLIPS_PER_SHARD": 3, "CLIPS_PER_GROUP": 2, "OPEN_FILES": 2}.items():
        monkeypatch.setattr(clips, name, value)
    writer = ClipWriter(tmp_path)
    for number in range(40):
        writer.add(clip(number))
    writer.close()
    return tmp_path


def test_clips_come_back_in_order_and_one_by_one(written: Path) -> None:
    store = ClipStore(written)
    assert len(store) == 40
    for number, found in enumerate(store):
        expected = clip(number)
        np.testing.assert_allclose(found.samples, expected.samples, atol=2e-4)
        for name in ("id", "track_id", "split", "caption", "aspects", "rate"):
            assert getattr(found, name) == getattr(expected, name)
        assert found.extra["bpm"] == number
        assert found.extra["genre"] == "jazz" if number > 20 else pd.isna(found.extra["genre"])
    for number in (39, 0, 17, 18, 2):
        samples, rate = store.samples(f"clip-{number}")
        assert (len(samples), rate) == (400 + number, RATE)
        assert store.seconds(f"clip-{number}") == (400 + number) / RATE
    assert store.split("test")["id"].tolist() == [f"clip-{number}" for number in range(2, 40, 3)]
    for ask in (store.samples, store.seconds):
        with pytest.raises(UserError, match="no clip 'clip-40' among its 40"):
            ask("clip-40")


def test_few_shards_are_open_at_a_time(written: Path) -> None:
    store = ClipStore(written)
    for number in range(40):
        store.audio_bytes(f"clip-{number}")
        opened = [file.path for file in psutil.Process().open_files() if file.path.startswith(str(written))]
        assert len(opened) <= 2


def test_an_id_that_occurs_twice_is_named(tmp_path: Path) -> None:
    writer = ClipWriter(tmp_path)
    for number in (1, 2, 1):
        writer.add(clip(number))
    writer.close()
    with pytest.raises(UserError, match="the id 'clip-1' occurs twice"):
        ClipStore(tmp_path)
