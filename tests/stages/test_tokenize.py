"""The stage tokenize: each window by itself, batches that change nothing, and work that a kill does not lose."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from musicgen_lite import codec, params
from musicgen_lite.codec.encodec import Encodec
from musicgen_lite.errors import UserError
from musicgen_lite.io import audio
from musicgen_lite.io.arrays import ArrayStore
from musicgen_lite.io.clips import Clip, ClipStore, ClipWriter
from musicgen_lite.sources import synthetic
from stages import tokenize
from tests.support import codec_tiny
from tests.support.project import ROOT, TREE, change
from tests.support.standins import clicks

RATE, CLIPS = 1600, 300
SMALL = {
    "data.seconds": 0.5, "data.prompt_seconds": 0.2, "train.crop_seconds": 0.3, "sample.seconds": 0.3,
    "compute.threads": 1, "codec.num_codebooks": 2, "codec.batch_size": 16,
}  # fmt: skip
# Runs the stage and kills it as hard as can be when so many batches were encoded.
KILLED = """
import os, signal, sys
from stages import runtime, tokenize
from musicgen_lite.codec.encodec import Encodec
from musicgen_lite.errors import UserError
encode, left = Encodec.encode, int(sys.argv[1])
def counted(self, wave):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return encode(self, wave)
Encodec.encode = counted
runtime.run(tokenize.main)
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with clips at another rate than its codec's."""
    for name in TREE:
        (tmp_path / name).symlink_to(ROOT / name)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    change(tmp_path / "params.yaml", SMALL | {"codec.name": str(codec_tiny.save(tmp_path / "codec"))})
    writer = ClipWriter(tmp_path / "data" / "clips")
    writer.directory.mkdir(parents=True)
    random = np.random.default_rng(0)
    for number in range(CLIPS):
        samples = 0.1 * random.standard_normal(RATE).astype(np.float32)
        writer.add(Clip(f"clip-{number}", f"track-{number}", "train", "Noise.", (), samples, RATE))
    writer.close()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return tmp_path


def run() -> None:
    tokenize.main(params.load())


def outcome(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.slow
def test_codes_are_those_of_each_window_encoded_by_itself(place: Path) -> None:
    run()
    model, clips = codec.load(str(place / "codec"), num_codebooks=2), ClipStore("data/clips")
    stores = {kind: ArrayStore(f"data/tokens/{kind}") for kind in ("prompt", "target")}
    assert [len(store) for store in stores.values()] == [CLIPS, CLIPS]
    for clip in ("clip-0", "clip-17", f"clip-{CLIPS - 1}"):
        wave = torch.from_numpy(audio.resample(*clips.samples(clip), codec_tiny.RATE))[None]
        for kind, window in (("prompt", wave[:, :200]), ("target", wave[:, 200:500])):
            np.testing.assert_array_equal(stores[kind][clip], model.encode(window)[0].T)
    assert stores["prompt"]["clip-0"].shape == (10, 2)
    assert stores["target"]["clip-0"].shape == (15, 2)
    described = {key: stores["target"].meta[key] for key in ("name", "revision", "fingerprint")}
    assert described == {"name": str(place / "codec"), "revision": "", "fingerprint": model.fingerprint}
    small = outcome(place / "data" / "tokens")
    change(place / "params.yaml", {"codec.batch_size": 7, "compute.threads": 2})
    run()
    assert outcome(place / "data" / "tokens") == small


@pytest.mark.slow
@pytest.mark.pipeline
def test_a_killed_stage_goes_on_at_its_last_whole_shard(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encode, calls, most = Encodec.encode, 0, 33

    def counted(self: Encodec, wave: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        if calls == most:
            raise KeyboardInterrupt
        calls += 1
        return encode(self, wave)

    monkeypatch.setattr(Encodec, "encode", counted)
    # 16 batches of 16 clips fill a shard.
    with pytest.raises(KeyboardInterrupt):
        run()
    (work,) = [folder for folder in (place / "checkpoints").iterdir() if folder.is_dir()]
    whole = [work / kind / "shard-00000.npy" for kind in ("prompt", "target")]
    assert [file.exists() for file in whole] == [True, True]
    # As if stopped between the prompts and the targets of that shard.
    for name in ("rows-00000.parquet", "shard-00000.npy"):
        (work / "target" / name).unlink()
    done = subprocess.run([sys.executable, "-c", KILLED, "33"], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    written = [file.stat().st_mtime_ns for file in whole]
    assert not (place / "data" / "tokens").exists()

    # Other inputs do not go on from there.
    calls, most = 0, 10**6
    change(place / "params.yaml", {"codec.batch_size": 8})
    run()
    assert calls == 2 * 38
    unbroken = outcome(place / "data" / "tokens")
    shutil.rmtree(place / "data" / "tokens")  # as DVC does before it runs a stage
    assert work.exists()

    calls = 0
    change(place / "params.yaml", {"codec.batch_size": 16})
    run()
    assert calls == 2 * 3
    assert [(Path("data/tokens") / file.relative_to(work)).stat().st_mtime_ns for file in whole] == written
    assert outcome(place / "data" / "tokens") == unbroken
    assert not any((place / "checkpoints").iterdir())


@pytest.mark.slow
def test_of_a_short_clip_at_most_three_eighths_are_the_prompt_and_nothing_is_padded(place: Path) -> None:
    lengths = {"whole": 6400, "short": 3200, "shorter": 2560, "alike": 3200}  # at 1600 Hz; whole clips last 4 s
    shutil.rmtree(place / "data" / "clips")
    (place / "data" / "clips").mkdir()
    writer, random = ClipWriter(place / "data" / "clips"), np.random.default_rng(1)
    for name, length in lengths.items():
        samples = 0.1 * random.standard_normal(length).astype(np.float32)
        writer.add(Clip(name, name, "train", "Noise.", (), samples, RATE))
    writer.close()
    change(place / "params.yaml", {"data.seconds": 4.0, "data.prompt_seconds": 1.0, "codec.batch_size": 3})
    with pytest.raises(UserError, match=r"data/clips short: too short: 2\.00 s, at least 4 s are needed"):
        run()
    change(place / "params.yaml", {"data.min_seconds": 1.5})
    run()
    model, clips = codec.load(str(place / "codec"), num_codebooks=2), ClipStore("data/clips")
    stores = {kind: ArrayStore(f"data/tokens/{kind}") for kind in ("prompt", "target")}
    for name, (prompt, end) in {"whole": (1000, 4000), "short": (750, 2000), "shorter": (600, 1600)}.items():
        wave = torch.from_numpy(audio.resample(*clips.samples(name), codec_tiny.RATE))[None]
        for kind, window in (("prompt", wave[:, :prompt]), ("target", wave[:, prompt:end])):
            np.testing.assert_array_equal(stores[kind][name], model.encode(window)[0].T)
    assert len(stores["target"]["short"]) == len(stores["target"]["alike"])


def beats(place: Path, clips: list[Clip]) -> pd.DataFrame:
    """What the stage finds of the targets of clips, by id: they begin after 1 s."""
    shutil.rmtree(place / "data" / "clips")
    (place / "data" / "clips").mkdir()
    writer = ClipWriter(place / "data" / "clips")
    for one in clips:
        writer.add(one)
    writer.close()
    found = codec_tiny.save(place / "codec-16k", rate=16000)
    change(place / "params.yaml", {"data.seconds": 5.0, "data.prompt_seconds": 1.0, "codec.name": str(found)})
    run()
    assert "bpm" not in ArrayStore("data/tokens/prompt").index
    return ArrayStore("data/tokens/target").index.set_index("key")[["bpm", "beat_s"]]


def wave_clip(name: str, samples: np.ndarray, **extra: float) -> Clip:
    return Clip(name, name, "train", "A beat.", (), samples, 16000, extra)


@pytest.fixture
def waves() -> dict[str, np.ndarray]:
    """Clips of 5 s: clicks from 0.05 s on, the same that stop when the target begins, and noise."""
    noise = 0.1 * np.random.default_rng(0).standard_normal(5 * 16000).astype(np.float32)
    steady = clicks(100.0, 5.0)
    return {
        "steady": steady,
        "stops": np.where(np.arange(len(steady)) < 16000, steady, np.float32(0.0)),
        "noise": noise,
    }


def test_the_beat_that_a_source_knows_is_that_of_the_target(place: Path) -> None:
    composed = [synthetic.clip(seed, "train", 5.0) for seed in (9_000_000, 9_000_001)]
    found = beats(place, composed)
    for one in composed:
        bpm, beat_s = found.loc[one.id]
        assert bpm == one.extra["tempo"]
        assert beat_s == pytest.approx(-1.0 % (8 * 60 / bpm))


def test_what_a_folder_leaves_open_is_estimated_from_the_target(place: Path, waves: dict[str, np.ndarray]) -> None:
    nan = float("nan")
    known = {"both": (120.0, 0.5), "tempo": (50.0, nan), "none": (nan, nan)}
    found = beats(place, [wave_clip(name, waves["steady"], tempo=bpm, beat_s=s) for name, (bpm, s) in known.items()])
    assert found.loc["both"].tolist() == [120.0, 3.5]
    assert found.loc["tempo", "bpm"] == 50.0
    assert found.loc["none", "bpm"] == pytest.approx(100, rel=0.01)
    for name in ("tempo", "none"):  # every click, or every second: at 0.05 s and every 0.6 s, the target from 1 s on
        assert (found.loc[name, "beat_s"] - 0.25 + 0.3) % 0.6 == pytest.approx(0.3, abs=0.03)


def test_sources_without_beats_are_estimated_and_what_has_none_is_unknown(
    place: Path, waves: dict[str, np.ndarray]
) -> None:
    found = beats(place, [wave_clip(name, samples) for name, samples in waves.items()])
    assert found.loc["steady"].tolist() == [pytest.approx(100, rel=0.01), pytest.approx(0.25, abs=0.03)]
    assert found.loc[["stops", "noise"]].isna().all(axis=None)
