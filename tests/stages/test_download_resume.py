"""A download that is stopped goes on after its last whole shard, and gives the bytes of one that never was."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from musicgen_lite.io import clips
from musicgen_lite.params import Params
from musicgen_lite.sources import synthetic
from musicgen_lite.sources.pieces import Cutting
from stages import check, download
from stages.runtime import CLIPS
from tests.support.stage_params import parameters

RATE, SHARD = 8000, 4


class Stopped(Exception):
    pass


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clips, "CLIPS_PER_SHARD", SHARD)


def stopping(monkeypatch: pytest.MonkeyPatch, owner: type, name: str, after: int) -> list[Any]:
    """Pieces as they are computed by a method, which stops the process in one that follows `after` others."""
    computed: list[Any] = []
    method: Callable[..., Any] = getattr(owner, name)

    def counted(self: Any, piece: Any) -> Any:
        if len(computed) == after:
            raise Stopped
        computed.append(piece)
        return method(self, piece)

    monkeypatch.setattr(owner, name, counted)
    return computed


def stored() -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in CLIPS.iterdir()}


def once_and_stopped(params: Params, owner: type, name: str, after: int) -> int:
    """How many pieces are computed again by a run that goes on with one that was stopped; both give the same files."""
    check.main(params)
    with pytest.MonkeyPatch.context() as patch:
        pieces = stopping(patch, owner, name, -1)
        download.main(params)
        expected = stored()
    shutil.rmtree(CLIPS)
    with pytest.MonkeyPatch.context() as patch:
        stopping(patch, owner, name, after)
        with pytest.raises(Stopped):
            download.main(params)
    assert not CLIPS.exists()
    with pytest.MonkeyPatch.context() as patch:
        again = stopping(patch, owner, name, -1)
        download.main(params)
    assert stored() == expected
    return after + len(again) - len(pieces)


@pytest.fixture
def folder(place: Path) -> str:
    """Fifteen files of 4 s: two clips each. One is too short, one has the audio of another split's, one has silence in its middle."""
    folder = place / "repository" / "music"
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    lines = ["file_name,caption,split"]
    for number in range(15):
        wave = 0.1 * random.standard_normal(4 * RATE)
        if number == 3:
            wave = wave[: RATE // 2]
        if number == 11:
            wave[: 2 * RATE] = 0
        soundfile.write(folder / f"{number}.wav", wave, RATE)
        lines.append(f"{number}.wav,Noise {number}.,{('train', 'validation', 'test')[number % 3]}")
    first, _ = soundfile.read(folder / "0.wav")
    soundfile.write(folder / "13.wav", [*first[: 2 * RATE], *(0.1 * random.standard_normal(2 * RATE))], RATE)
    (folder / "metadata.csv").write_text("\n".join(lines))
    return str(folder)


@pytest.mark.parametrize("after", [1, 6, 9, 14])
def test_a_folder(folder: str, after: int) -> None:
    params = parameters(source="folder", folder__path=folder, min_available=1, min_seconds=None)
    again = once_and_stopped(params, Cutting, "each", after)
    # Of the last shard that was not whole, and the piece in which it began.
    assert 0 <= again <= SHARD // 2 + 1
    reasons = [one["reason"].partition(":")[0] for one in clips.ClipStore(CLIPS).rejected]
    assert reasons == ["too short", "silent", "duplicate"]


@pytest.mark.parametrize("after", [1, 4])
def test_what_is_composed(place: Path, after: int) -> None:
    (place / "repository").mkdir()
    params = parameters(synthetic__train=8, synthetic__validation=5, synthetic__test=6, min_available=1)
    alone = params.model_copy(update={"compute": params.compute.model_copy(update={"threads": 1})})
    assert once_and_stopped(alone, synthetic.Composing, "compute", after) <= 2
