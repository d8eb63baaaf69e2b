"""Memorisation: copies of training clips are found, named and counted; new music is not suspected."""

from dataclasses import replace

import numpy as np
import pytest

from musicgen_lite.errors import UserError
from musicgen_lite.scoring.audio import memorisation
from musicgen_lite.scoring.audio.memorisation import memorised, nearest
from musicgen_lite.scoring.statistics.intervals import Bootstrap
from tests.support.standins import embeddings

TRAINING = embeddings(np.random.default_rng(1).normal(size=(500, 8)), prefix="train")
REAL = embeddings(np.random.default_rng(2).normal(size=(200, 8)))


def test_the_nearest_clip_is_that_of_a_full_search_whatever_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    cosines = [[float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)) for b in TRAINING.rows] for a in REAL.rows[:20]]
    few = REAL.select(REAL.ids[:20])
    for block in (7, 1024):
        monkeypatch.setattr(memorisation, "AT_ONCE", block)
        values, clips = nearest(few, TRAINING)
        assert values == pytest.approx(np.max(cosines, axis=1))
        assert clips == [f"train{i:03d}" for i in np.argmax(cosines, axis=1)]


def test_new_music_is_not_suspected_and_copies_are(rng: np.random.Generator) -> None:
    new = embeddings(rng.normal(size=(200, 8)))
    threshold = np.sort(nearest(REAL, TRAINING)[0])[189]  # 190 of 200 are no nearer
    scores = memorisation.memorisation(new, REAL, TRAINING, Bootstrap(300))
    assert scores.estimates["memorised"].low <= 0.05 <= scores.estimates["memorised"].high + 0.01
    assert scores.estimates["nearest_over_real"].low < 0 < scores.estimates["nearest_over_real"].high
    copied = new.rows.copy()
    copied[:40] = TRAINING.rows[100:140] + 0.01 * rng.normal(size=(40, 8))
    scores = memorisation.memorisation(embeddings(copied), REAL, TRAINING, Bootstrap(300))
    beyond = (nearest(new, TRAINING)[0][40:] > threshold).sum()
    assert scores.estimates["memorised"].value == pytest.approx((40 + beyond) / 200)
    assert scores.estimates["nearest_over_real"].low > 0
    assert scores.tables["nearest"]["clip"].tolist()[:40] == [f"train{i}" for i in range(100, 140)]
    assert scores.notes["memorisation"]["training_clips"] == 500


def test_the_share_is_counted_against_the_95th_percent_of_the_real_clips() -> None:
    real = np.arange(100.0)
    assert memorised(np.full(100, 94.5), real, Bootstrap(100)).value == 1.0
    none = memorised(np.full(100, 10.0), real, Bootstrap(100))
    assert (none.value, none.low) == (0.0, 0.0)
    assert 0.03 < none.high < 0.05, "none of 100 does not make it sure that there are none"
    assert memorised(real, real, Bootstrap(100)).value == pytest.approx(0.05)


def test_clips_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(UserError, match="'c000' is a held-out clip too"):
        memorisation.memorisation(REAL, REAL, REAL, Bootstrap(50))
    with pytest.raises(UserError, match="no entry for 1"):
        memorisation.memorisation(REAL.select(REAL.ids[1:]), REAL, TRAINING, Bootstrap(50))
    with pytest.raises(UserError, match="clips embedded by f, training clips by g"):
        nearest(REAL, replace(TRAINING, fingerprint="g"))
