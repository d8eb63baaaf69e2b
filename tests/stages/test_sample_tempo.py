"""What the stage sample tells a model with a beat condition: for its prompts' clips, and for captions alone."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from musicgen_lite.io.clips import Clip, ClipStore, ClipWriter
from musicgen_lite.samples.prompts import Item
from musicgen_lite.samples.systems import told
from stages.runtime import CLIPS
from tests.support.models_tiny import conditions, tiny
from tests.support.stage_params import parameters
from tests.support.standins import RATE, clicks, sine

PARAMS = parameters(seconds=5.0, prompt_seconds=3.0)
CODES = np.ones((4, 7))


@pytest.fixture(autouse=True)
def clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clip with a clear beat from 0.05 s on, every 0.6 s, and one without any."""
    monkeypatch.chdir(tmp_path)
    Path("data/clips").mkdir(parents=True)
    writer = ClipWriter("data/clips")
    for name, samples in {"clicks": clicks(100.0, 5.0), "tone": sine(440, 5.0)}.items():
        writer.add(Clip(name, name, "test", "A beat.", (), samples, RATE))
    writer.close()


def model() -> Any:
    return SimpleNamespace(
        config=SimpleNamespace(beat=True, max_text=9, rate=RATE),
        tempos=lambda given: (torch.tensor([[0.5, 0.5]]), torch.tensor([70.0, 110.0])),
    )


def test_the_beat_of_an_audio_prompt_goes_on_for_each_candidate() -> None:
    each = PARAMS.sample.candidates
    group = [Item(name, "prompt", "A beat.", CODES) for name in ("clicks", "tone")]
    beats = told(model(), conditions(2 * each, "a"), group, range(2 * each), PARAMS, ClipStore(CLIPS))
    assert len(beats) == 2 * each
    assert len(set(beats[:each])) == 1
    assert beats[0].bpm == pytest.approx(100, rel=0.02)
    assert (beats[0].beat_s - (0.05 - 3.0) + 0.3) % 0.6 == pytest.approx(0.3, abs=0.05)
    assert {beat.bpm for beat in beats[each:]} <= {70.0, 110.0}
    assert {beat.beat_s for beat in beats[each:]} == {0.0}


def test_captions_alone_hear_no_clip_and_models_without_the_condition_nothing() -> None:
    each = PARAMS.sample.candidates
    group = [Item("clicks", "text", "A beat at 128 BPM."), Item("tone", "text", "A beat.")]
    given = conditions(2 * each, "a")
    beats = told(model(), given, group, range(2 * each), PARAMS, ClipStore(CLIPS))
    assert [beat.bpm for beat in beats[:each]] == [128.0] * each
    assert {beat.bpm for beat in beats[each:]} <= {70.0, 110.0}
    assert told(tiny("a", "delay"), given, group, range(2 * each), PARAMS, ClipStore(CLIPS)) == []
