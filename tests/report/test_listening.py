"""The content of the listening page: which sounds each prompt has, in which order, and what is written of them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from musicgen_lite.io import audio
from musicgen_lite.io.clips import Clip, ClipStore, ClipWriter
from musicgen_lite.io.samples import Sample, SampleStore, SampleWriter
from musicgen_lite.io.windows import ClipWindows, Windows
from musicgen_lite.report.listening import page_entries, page_sounds, run_facts, write_page
from musicgen_lite.report.page import PageData
from tests.report.conftest import RATE, tone
from tests.support.stage_params import parameters

CLIPS, SECONDS = ("a", "b-0"), 1.0


@pytest.fixture
def windows(tmp_path: Path) -> ClipWindows:
    """Clips of 1.5 s, of which 0.5 s are the audio prompt."""
    (tmp_path / "clips").mkdir()
    writer = ClipWriter(tmp_path / "clips")
    for number, clip in enumerate(CLIPS):
        writer.add(Clip(clip, clip, "test", f"Caption {clip}.", (), tone(200 + 50 * number, 1.5), RATE))
    writer.close()
    return ClipWindows(ClipStore(tmp_path / "clips"), Windows(RATE, 0.5, 1.5, SECONDS))


def samples(folder: Path, prompted: bool) -> SampleStore:
    """Two candidates for each prompt, of which the second is picked; stored with the fixed prompt last."""
    folder.mkdir()
    writer = SampleWriter(folder)
    wanted = (
        [(clip, "text") for clip in CLIPS] + [(clip, "prompt") for clip in CLIPS if prompted] + [("fixed-0", "fixed")]
    )
    for number, (prompt, kind) in enumerate(wanted):
        bpm = 128.0 if kind == "fixed" else None
        for candidate in (0, 1):
            one = Sample(prompt, kind, candidate, 7, 0.1 + candidate, candidate == 1, f"Caption {prompt}.", bpm)  # type: ignore[arg-type]
            writer.add(one, tone(300 + 20 * number + candidate, SECONDS), RATE)
    writer.close()
    return SampleStore(folder)


@pytest.mark.parametrize("prompted", [False, True])
def test_every_prompt_has_its_sounds_fixed_prompts_first(tmp_path: Path, windows: ClipWindows, prompted: bool) -> None:
    store = samples(tmp_path / "samples", prompted)
    table = page_sounds(store, windows, lambda wave: 0.5 * wave, RATE)
    own = ["generated", "real", "codec"] + (["prompt", "prompted"] if prompted else [])
    assert table["prompt"].tolist() == ["fixed-0", *["a"] * len(own), *["b-0"] * len(own)]
    assert table["kind"].tolist() == ["generated", *own, *own]
    assert table["fixed"].tolist() == [True, *[False] * 2 * len(own)]
    row = table[(table["prompt"] == "a") & (table["kind"] == "generated")].iloc[0]
    (picked,) = [one for one in store.picked("text") if one.prompt_id == "a"]
    assert (row["flac"], row["candidates"], row["picked"]) == (store.flac(picked), [0.1, 1.1], 1)
    flac = table.set_index(["prompt", "kind"])["flac"]
    real, _ = audio.decode(flac["a", "real"])
    np.testing.assert_allclose(real, windows.target("a")[0], atol=1e-4)
    np.testing.assert_allclose(audio.decode(flac["a", "codec"])[0], 0.5 * real, atol=1e-3)
    if prompted:
        assert len(audio.decode(flac["b-0", "prompt"])[0]) == RATE // 2


def test_the_page_is_written_with_the_first_sound_and_picture_of_each_prompt(
    tmp_path: Path, windows: ClipWindows
) -> None:
    table = page_sounds(samples(tmp_path / "samples", False), windows, lambda wave: wave, RATE)
    entries = page_entries(table, SECONDS, RATE / 2)
    assert [(entry.id, entry.fixed, len(entry.sounds)) for entry in entries] == [
        ("fixed-0", True, 1), ("a", False, 3), ("b-0", False, 3),
    ]  # fmt: skip
    assert [entry.sounds[0].note for entry in entries] == ["told 128 BPM", "", ""]
    out = tmp_path / "report"
    out.mkdir()
    write_page(out, PageData("run", "model A", (), (), (), entries, 2), table)
    assert {file.name for file in out.iterdir()} == {
        "index.html", "sounds.parquet", *(f"sample-{entry.id}.flac" for entry in entries),
        *(f"spectrogram-{entry.id}.png" for entry in entries),
    }  # fmt: skip
    assert (out / "sample-a.flac").read_bytes() == entries[1].sounds[0].flac
    kept = pd.read_parquet(out / "sounds.parquet")
    assert kept["prompt"].tolist() == table["prompt"].tolist()
    assert len(audio.decode(kept["sound"][0])[0]) >= SECONDS * RATE


def test_the_facts_of_a_trained_and_of_a_published_model() -> None:
    params = parameters()
    record = {
        "params": {"model.type": "a", "model.pattern": "delay"}, "tags": {"train.commit": "0123456789abcdef"},
        "training": {"parameters": 1234567, "best_step": 40},
    }  # fmt: skip
    given = (params.sample, params.train)
    facts = dict(run_facts(record, *given, params.model.decoder, "synthetic", 3))
    assert facts["model"] == "A, delay"
    assert facts["size"].startswith("1,234,567 parameters, d ")
    assert facts["trained"] == f"40 steps of {params.train.effective_batch_size} clips"
    assert (facts["commit"], facts["seed"], facts["data"]) == ("0123456789", "3", "synthetic")
    published = record | {"training": {"parameters": 5, "published": "facebook/musicgen-small"}}
    assert dict(run_facts(published, *given, None, "synthetic", 3))["trained"] == "not here: facebook/musicgen-small"
    lora = params.train.lora.model_copy(update={"rank": 8})
    train = params.train.model_copy(update={"init": "owner/name", "lora": lora})
    tuned = record | {
        "params": {"model.type": "musicgen", "model.pattern": "delay", "train.init": "owner/name", "train.steps": "9"}
    }
    facts = dict(run_facts(tuned, params.sample, train, None, "folder", 3))
    assert facts["trained"] == f"40 steps of {train.effective_batch_size} clips, LoRA of rank 8, from owner/name"
    assert facts["model"] == "MusicGen tuned from owner/name, delay"


def test_the_facts_of_a_pipeline_of_diffusers() -> None:
    params = parameters()
    of_it = {"model.type": "diffusers", "model.name": "cvssp/audioldm2", "model.steps": "20", "model.guidance": "null"}
    record = {"params": of_it, "tags": {}, "training": {"published": "cvssp/audioldm2@abc"}}
    facts = dict(run_facts(record, params.sample, params.train, None, "synthetic", 3))
    assert (facts["model"], facts["trained"]) == ("cvssp/audioldm2, diffusers", "not here: cvssp/audioldm2@abc")
    assert facts["guidance"] == f"its own, best of {params.sample.candidates}, denoising steps 20"
    assert facts["size"] == "size unknown"
    other = record | {"params": {"model.type": "external", "model.name": "x"}, "training": {"external": "x, digest d"}}
    assert dict(run_facts(other, params.sample, params.train, None, "synthetic", 3))["guidance"] == "unknown"
