"""A realistic page: synthesised tones, and scores of the size that a run of the embedded default gives."""

import numpy as np
import pytest

from musicgen_lite.io import audio
from musicgen_lite.report import plots
from musicgen_lite.report.page import Entry, PageData, Score, ScoreRow, ScoreTable, Sound, chart, sound

RATE = 16000
SECONDS = 5.0
FIXED = (
    "A fast techno beat with a synth lead.",
    "A relaxing piano melody with rain sounds.",
    "Heavy metal guitar riff.",
)
CAPTION = (
    "This instrumental disco track has a funky bass line, four-on-the-floor drums and bright strings that play a "
    'catchy phrase. It sounds happy & <b>danceable</b>; someone called it "the song of the summer".'
)


def tone(hz: float, seconds: float = SECONDS, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    """A beat twice a second under a pulsing chord, float32 `[T]`."""
    time = np.arange(round(seconds * RATE)) / RATE
    beat = np.exp(-(time % 0.5) * 14) * np.sin(2 * np.pi * 60 * (time % 0.5) * np.exp(-(time % 0.5) * 3))
    chord = sum(np.sin(2 * np.pi * hz * ratio * time) / ratio for ratio in (1, 1.25, 1.5, 2, 3, 4))
    wave = 0.4 * beat + 0.1 * chord * (1 + np.sin(2 * np.pi * time)) / 2
    return (wave + noise * np.random.default_rng(seed).standard_normal(len(time))).astype(np.float32)


def flac(hz: float, seconds: float = SECONDS, noise: float = 0.0) -> bytes:
    return audio.encode_flac(tone(hz, seconds, noise), RATE)


def sounds(hz: float, fixed: bool) -> tuple[Sound, ...]:
    """What one prompt of Model B shows: five sounds, or for a fixed prompt only the generated one."""
    scores = (0.213, 0.341, -0.018, 0.297)
    pick = sound("Generated", flac(hz, noise=0.01), SECONDS, 8000, "seed 182736", True, scores, 1)
    if fixed:
        return (pick,)
    return (
        pick,
        sound("Real clip", flac(hz * 1.2), SECONDS, 8000),
        sound("Reconstruction by the codec", flac(hz * 1.2, noise=0.003), SECONDS, 8000),
        sound("Audio prompt", flac(hz * 1.2, 3.0), SECONDS, 8000, "seconds 0 to 3 of the real clip"),
        sound("Generated with the audio prompt", flac(hz * 1.2, noise=0.01), SECONDS, 8000, "seed 99", True, scores, 1),
    )


def score(value: float, half: float | None = None, n: int | None = 64) -> Score:
    return Score(value) if half is None else Score(value, value - half, value + half, n)


def tables() -> tuple[ScoreTable, ...]:
    return (
        ScoreTable(
            "Likelihood of held-out tokens",
            ("model", "shuffled caption", "no caption", "bigram", "unigram", "uniform"),
            (
                ScoreRow(
                    "NLL, nats per token",
                    (score(4.738, 0.031, 128), score(4.829, 0.033, 128), score(4.781, 0.03, 128), score(5.121), score(5.442),
                     score(5.545)),
                    "lower",
                ),
                ScoreRow("perplexity", (score(114.2), score(125.1), score(119.2), score(167.5), score(230.9), score(256.0)), "lower"),
                ScoreRow("bits per second", (score(1367.1), score(1393.4), score(1379.5), score(1477.6), score(1570.2), score(1600))),
            ),
            "Held-out clips, identical cells for every column.",
        ),
        ScoreTable(
            "Audio",
            ("generated", "generated with prompt", "reconstruction", "real", "noise"),
            (
                ScoreRow("CLAP", (score(0.341, 0.021), score(0.36, 0.02), score(0.66, 0.02), score(0.87, 0.01), score(-0.05, 0.01)), "higher"),
                ScoreRow("FAD, CLAP space", (score(0.412, 0.05, 32), score(0.39, 0.05, 32), score(0.201, 0.02, 32), score(0.0832, 0.01, 32), score(1.31, 0.02, 32)), "lower"),
                ScoreRow("KAD, mel space", (score(0.00412, 0.0005, 32), None, score(0.002, 0.0002, 32), score(0.0008, 0.0001, 32), score(13.1, 0.2, 32)), "lower"),
            ),
        ),
    )  # fmt: skip


def headline() -> tuple[ScoreRow, ...]:
    return (
        ScoreRow("NLL, nats per token", (score(4.738, 0.031, 128),), "lower"),
        ScoreRow("CLAP score", (score(0.341, 0.021),), "higher"),
    )


def page_data(prompts: int = 2, title: str = "gusty-fern-b") -> PageData:
    """A page of Model B with the three fixed prompts last among its entries, where the page must not leave them."""
    curve = [(float(step), 4.7 + 0.8 * float(np.exp(-step / 200))) for step in range(0, 601, 20)]
    baselines = {"unigram": 5.442, "bigram": 5.121}
    per_codebook = {"bigram": [4.9, 5.1, 5.2, 5.28], "unigram": [5.36, 5.44, 5.47, 5.5]}
    charts = (
        chart("NLL by step", "NLL falls from 5.50 to 4.74, under the bigram's 5.12.",
              lambda theme: plots.nll_curves(curve, curve[4::4], baselines, theme)),
        chart("NLL by codebook", "The model is under bigram and unigram in each of 4 codebooks.",
              lambda theme: plots.codebook_bars([4.08, 4.78, 4.98, 5.11], per_codebook, theme)),
    )  # fmt: skip
    entries = [Entry(f"clip-{1000 + i}", CAPTION, sounds(180 + 20 * i, False)) for i in range(prompts)]
    entries += [Entry(f"fixed-{i}", caption, sounds(220 + 60 * i, True), fixed=True) for i, caption in enumerate(FIXED)]
    facts = (
        ("pattern", "interleaved"), ("commit", "7700f4e (changed files)"), ("parameters", "3.71 M"), ("steps", "600"),
        ("guidance", "3.0"), ("candidates", "4, picked by CLAP"), ("seed", "0"), ("codec", "embedded 3f9c27d01a55e6b2"),
    )  # fmt: skip
    return PageData(title, "Model B: cross-attention over text and an audio prompt", facts, tables(), charts,
                    tuple(entries), prompts=64, headline=headline())  # fmt: skip


@pytest.fixture(scope="session")
def page() -> PageData:
    """The realistic page with two test prompts."""
    return page_data()
