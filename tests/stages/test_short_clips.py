"""Clips that are shorter than others, from their windows to what is generated for them and scored."""

from pathlib import Path

import numpy as np
import pytest
import torch

from musicgen_lite.generation import Sampling, generate
from musicgen_lite.io.clips import Clip, ClipStore, ClipWriter
from musicgen_lite.io.samples import Sample, SampleStore, SampleWriter
from musicgen_lite.io.windows import ClipWindows, Windows
from musicgen_lite.samples.prompts import Item
from musicgen_lite.samples.systems import conditions
from musicgen_lite.scoring.audio.distances import audio_distances
from musicgen_lite.scoring.audio.embedders import Embedders
from musicgen_lite.scoring.audio.scores import score_generated
from musicgen_lite.scoring.audio.sets import (
    ReferenceClips,
    ReferenceSets,
    as_noise,
    embed_reference,
    generated_set,
    reconstructed,
    targets,
)
from musicgen_lite.scoring.statistics.intervals import Bootstrap
from tests.support.models_tiny import tiny
from tests.support.standins import RATE, RoundingCodec, ToneClap, sine

# Clips of 2 s, of which 0.5 s are the prompt, and shorter ones; samples of 1 s.
SECONDS = {f"c{number:02d}": 2.0 if number % 3 else 1.2 + 0.01 * number for number in range(24)}


def store(folder: Path) -> ClipStore:
    folder.mkdir()
    writer = ClipWriter(folder)
    for number, (name, seconds) in enumerate(SECONDS.items()):
        hz = 220 * 2 ** (number / 12)
        writer.add(Clip(name, name, "test", str(hz), (), sine(hz, seconds), RATE))
    writer.close()
    return ClipStore(folder)


def test_windows_of_whole_and_of_short_clips() -> None:
    windows = Windows(1000, 3.0, 8.0)
    assert windows.of(8.0) == windows.of(7.995) == windows.of(9.0) == (3000, 8000)
    assert windows.of(4.0) == (1500, 4000)
    assert windows.of(7.92) == (2970, 7920)
    assert Windows(1000, 0.5, 8.0).of(4.0) == (500, 4000)  # at most three eighths
    assert Windows(1000, 5.0, 8.0).of(8.0) == (5000, 8000)  # of a whole clip what the parameter says
    assert Windows(1000, 5.0, 8.0).of(7.2) == (2700, 5700)  # and no target is longer than a whole clip's
    assert Windows(1000, 3.0, 8.0, 2.0).of(8.0) == (3000, 5000)
    assert Windows(1000, 3.0, 8.0, 2.0).of(2.0) == (750, 2000)


@pytest.mark.slow
def test_what_is_scored_of_a_short_clip_ends_where_the_clip_does(tmp_path: Path) -> None:
    clips = store(tmp_path / "clips")
    heard = ClipWindows(clips, Windows(RATE, 0.5, 2.0, 1.0))
    ids = sorted(SECONDS)
    short = {name for name in ids if SECONDS[name] < 1.5}
    for name in ids:
        whole, _ = clips.samples(name)
        start = round(min(0.5, SECONDS[name] * 3 / 8) * RATE)
        end = min(start + RATE, len(whole))
        np.testing.assert_array_equal(heard.target(name)[0], whole[start:end])
        np.testing.assert_array_equal(heard.prompt(name)[0], whole[:start])
    assert heard.short(ids) == {name for name in ids if heard.target_length(name) < RATE} == short
    assert heard.short_prompts(ids) == {name for name in ids if SECONDS[name] * 3 / 8 < 0.5}

    reference, prompted = ids[::2], ids[1::2]
    codec, real = RoundingCodec(), targets(heard, prompted)
    embedders = Embedders(ToneClap(), codec)
    sets_of_clips = ReferenceClips(
        {}, {}, targets(heard, reference), real, reconstructed(real, codec), as_noise(real, 0), prompts=real
    )  # fmt: skip
    sets = embed_reference(sets_of_clips, embedders)
    # The real clips themselves as samples, with noise behind where a short clip ends: none of it may count.
    (tmp_path / "samples").mkdir()
    writer, random = SampleWriter(tmp_path / "samples"), np.random.default_rng(0)
    for name in prompted:
        own = heard.target(name)[0]
        wave = np.concatenate([own, random.uniform(-0.3, 0.3, RATE - len(own)).astype(np.float32)])
        caption = clips.index.set_index("id")["caption"][name]
        writer.add(Sample(name, "text", 0, 0, 0.0, True, caption), wave, RATE)
    writer.close()
    made = generated_set(SampleStore(tmp_path / "samples"), "text", 1, {name: name for name in prompted}, heard)
    assert [len(made.read(name, 0)[0]) for name in prompted] == [heard.target_length(name) for name in prompted]
    scores = score_generated(made, sets, embedders, Bootstrap(100))
    assert scores.metrics["fad_mel"] == pytest.approx(_real(sets, "mel"), abs=1e-3)


def _real(sets: ReferenceSets, space: str) -> float:
    """The distance of the real clips themselves, as the headline rounds it."""
    own = sets.spaces[space]
    distances = audio_distances(own.reference, {"real": own.real}, Bootstrap(100))
    return distances.estimates[f"{space}_fad_real"].value


def test_prompts_of_unequal_length_are_heard_each_as_by_itself() -> None:
    model, random = tiny("b", "delay"), np.random.default_rng(0)
    items = [Item(f"c{n}", "prompt", "x", random.integers(0, 16, (4, length))) for n, length in enumerate((7, 2, 5))]
    texts = [random.normal(size=(3, 12)).astype(np.float16) for _ in items]
    greedy = Sampling(top_k=1, guidance=1.5)
    together = generate(model, conditions(items, texts, 16), 12, greedy, [0, 1, 2])
    for row, item in enumerate(items):
        alone = generate(model, conditions([item], texts[row : row + 1], 16), 12, greedy, [row])
        torch.testing.assert_close(together[row], alone[0])
