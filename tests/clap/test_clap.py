"""CLAP: windows against a count by hand, what it hears against noise and silence, bad audio and files named."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from musicgen_lite import clap
from musicgen_lite.clap.scorer import ClapScorer
from musicgen_lite.errors import UserError
from musicgen_lite.io import audio
from musicgen_lite.pretrained import shipped
from musicgen_lite.sources import synthetic

SEEDS = range(90_000_000, 90_000_012)  # of no training clip


@pytest.fixture(scope="module")
def scorer() -> ClapScorer:
    return clap.load("embedded")


@pytest.fixture(scope="module")
def clips() -> list[synthetic.Clip]:
    return [synthetic.clip(seed, "test", 5.0) for seed in SEEDS]


def test_windows_by_hand(scorer: ClapScorer) -> None:
    assert (scorer.rate, scorer.window_s) == (16000, 5.0)
    size = 80000
    for length, expected in {
        1: [(0, 1)],
        size: [(0, size)],
        size + 1: [(0, size), (1, size + 1)],
        2 * size: [(0, size), (size, 2 * size)],
        2 * size + 7: [(0, size), (size, 2 * size), (size + 7, 2 * size + 7)],
    }.items():
        cut = scorer.windows(np.arange(length))
        assert [(int(window[0]), int(window[-1]) + 1) for window in cut] == expected


def test_unit_vectors_whatever_the_company(scorer: ClapScorer, clips: list[synthetic.Clip]) -> None:
    audio = [clip.samples for clip in clips[:3]]
    together = scorer.embed_audio([*audio, audio[0][:30000]])
    assert together.shape == (4, scorer.dim)
    assert together.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(scorer.embed_audio(audio[1:2])[0], together[1], atol=1e-5)
    captions = [clips[0].caption, "Slow."]
    text = scorer.embed_text(captions)
    np.testing.assert_allclose(np.linalg.norm(text, axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(scorer.embed_text(captions[1:])[0], text[1], atol=1e-5)


def test_nothing_gives_no_rows(scorer: ClapScorer) -> None:
    assert scorer.embed_text([]).shape == scorer.embed_audio([]).shape == (0, scorer.dim)


def test_a_short_clip_counts_as_its_repetition(scorer: ClapScorer, clips: list[synthetic.Clip]) -> None:
    part = clips[0].samples[:30000]
    filled = np.concatenate([part, part, np.zeros(20000, np.float32)])
    np.testing.assert_allclose(scorer.embed_audio([part]), scorer.embed_audio([filled]), atol=1e-5)


def test_a_clip_at_another_rate_is_resampled(scorer: ClapScorer, clips: list[synthetic.Clip]) -> None:
    from musicgen_lite.io import audio

    samples = clips[1].samples
    up = audio.resample(samples, 16000, 32000)
    assert float((scorer.embed_clip(up, 32000)[0] * scorer.embed_clip(samples, 16000)[0]).sum()) > 0.98
    assert scorer.embed_clip(np.tile(samples, 2)[:150000], 16000).shape == (2, scorer.dim)


@pytest.mark.parametrize("name", ["embedded", "judge"])
def test_own_caption_fits_better_than_others(name: str, clips: list[synthetic.Clip]) -> None:
    scorer = clap.load(name)
    cosines = scorer.embed_text([clip.caption for clip in clips]) @ scorer.embed_audio([c.samples for c in clips]).T
    others = cosines[~np.eye(len(clips), dtype=bool)]
    assert cosines.diagonal().mean() > others.mean() + 0.3
    assert (cosines.argmax(axis=1) == np.arange(len(clips))).mean() >= 0.5
    noise = np.random.default_rng(0).normal(0, 0.1, 80000).astype(np.float32)
    heard = scorer.embed_text([clips[0].caption]) @ scorer.embed_audio([noise]).T
    assert heard.item() < cosines.diagonal().mean() - 0.3


def test_the_judge_is_another_model(scorer: ClapScorer) -> None:
    assert clap.load("judge").fingerprint != scorer.fingerprint


@pytest.mark.parametrize(("part", "key", "value"), [("text", "layer_norm_eps", 1e-5), ("audio", "hidden_act", "relu")])
def test_what_no_weight_holds_counts(scorer: ClapScorer, tmp_path: Path, part: str, key: str, value: object) -> None:
    folder = shutil.copytree(shipped.path("clap"), tmp_path / "clap")
    kept = json.loads((folder / "config.json").read_text())
    kept[f"{part}_config"][key] = value
    (folder / "config.json").write_text(json.dumps(kept))
    assert clap.load(str(folder)).fingerprint != scorer.fingerprint


def test_the_saved_extractor_counts(scorer: ClapScorer, tmp_path: Path) -> None:
    folder = shutil.copytree(shipped.path("clap"), tmp_path / "clap")
    assert clap.load(str(folder)).fingerprint == scorer.fingerprint
    path = folder / "preprocessor_config.json"
    kept = json.loads(path.read_text())
    assert kept["frequency_min"] == 50
    path.write_text(json.dumps({**kept, "frequency_min": 0}))
    assert clap.load(str(folder)).fingerprint != scorer.fingerprint
    path.unlink()
    with pytest.raises(UserError, match="preprocessor_config"):
        clap.load(str(folder))


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (np.zeros(0, np.float32), "empty"),
        (np.array([0.1, np.nan] * 4000, np.float32), "NaN"),
        (np.array([0.1, np.inf] * 4000, np.float32), "NaN or infinite"),
    ],
)
def test_bad_audio_is_named(scorer: ClapScorer, bad: np.ndarray, reason: str) -> None:
    good = np.ones(1000, np.float32)
    with pytest.raises(UserError, match=f"audio 1: {reason}"):
        scorer.embed_audio([good, bad])
    with pytest.raises(UserError, match=reason):
        scorer.embed_clip(bad, 16000)
    with pytest.raises(UserError, match=reason):
        scorer.embed_clip(bad, 44100)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_same(scorer: ClapScorer, clips: list[synthetic.Clip]) -> None:
    there, waves = clap.load("embedded", device="cuda"), [clip.samples for clip in clips[:3]]
    assert there.fingerprint == scorer.fingerprint
    np.testing.assert_allclose(there.embed_audio(waves), scorer.embed_audio(waves), atol=1e-3)
    np.testing.assert_allclose(there.embed_text(["slow techno"]), scorer.embed_text(["slow techno"]), atol=1e-3)


def test_silence_is_finite(scorer: ClapScorer) -> None:
    assert np.isfinite(scorer.embed_audio([np.zeros(80000, np.float32)])).all()


def test_audio_longer_than_the_window_is_refused(scorer: ClapScorer) -> None:
    with pytest.raises(ValueError, match="80001"):
        scorer.embed_audio([np.zeros(80001, np.float32)])


def test_unknown_names_are_named() -> None:
    with pytest.raises(UserError, match=r"score\.clap: there is no directory /no/clap"):
        clap.load("/no/clap")
    with pytest.raises(UserError, match=r"score\.judge: there is no directory /no/clap"):
        clap.load("/no/clap", parameter="score.judge")


def test_each_waveform_is_held_against_its_owners_caption(scorer: ClapScorer) -> None:
    captions = ["A fast techno beat with a synth lead.", "A relaxing piano melody with rain sounds."]
    random = np.random.default_rng(0)
    waves = [random.standard_normal(length).astype(np.float32) for length in (20_000, 400_000, 60_000)]
    found = scorer.similarity(captions, 2 * scorer.rate, waves, [1, 0, 0])
    for wave, owner, cosine in zip(waves, [1, 0, 0], found, strict=True):
        windows = scorer.embed_audio(scorer.windows(audio.resample(wave, 2 * scorer.rate, scorer.rate)))
        expected = np.mean([window @ scorer.embed_text([captions[owner]])[0] for window in windows])
        assert cosine == pytest.approx(expected, abs=1e-5)
