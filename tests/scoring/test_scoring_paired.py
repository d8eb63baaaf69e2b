"""A - B: pairs tell apart what intervals apart cannot, and what was measured differently is not subtracted."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from musicgen_lite.scoring import distances, frechet, paired
from musicgen_lite.scoring.paired import Result, differences
from musicgen_lite.scoring.summary import Scores
from musicgen_lite.store import write_json, write_table
from tests.scoring.standins import embeddings

rng = np.random.default_rng(0)
N = 60
IDS = [f"c{i:03d}" for i in range(N)]
CLIPS = rng.normal(5, 1, N)  # what makes clips differ
FRAMES = rng.integers(50, 200, N)
REFERENCE = embeddings(rng.normal(size=(N, 4)), name="clap", prefix="r")
MADE = rng.normal(size=(N, 4))


def result(better: float = 0.0, shift: float = 0.5, **tables: pd.DataFrame) -> Result:
    """A result whose clips all have an NLL `better` lower, and whose audio lies `shift` off in each dimension."""
    scores = distances.audio_distances(REFERENCE, {"generated": embeddings(MADE + shift, name="clap")}, 200, 0)
    noise = rng.normal(0, 0.02, N)
    own = {
        "nll": pd.DataFrame({"id": IDS, "frames": FRAMES, "caption": CLIPS - better + noise}),
        "clap": pd.DataFrame({"id": IDS, "own": 0.1 * CLIPS + better + noise}),
        "signals": pd.DataFrame({"id": IDS, "stated_bpm": [120.0, np.nan] * 30, "tempo_hit": [better > 0, True] * 30}),
    }
    return Result(own | tables, scores.draws, scores.details["estimates"], scores.notes)


def test_a_small_but_steady_difference_is_found_among_clips_that_differ_much() -> None:
    a, b = result(0.05), result()
    found, withheld = differences(a, b, 500, 0)
    assert found["nll"].low < -0.05 < found["nll"].high < 0
    assert found["clap"].high - found["clap"].low < 0.05 < np.std(CLIPS) / np.sqrt(N)
    back, _ = differences(b, a, 500, 0)
    assert back["nll"].value == pytest.approx(-found["nll"].value)
    # Weighted by frames: the difference of the two figures as they are reported.
    expected = [(one.tables["nll"]["caption"] * FRAMES).sum() / FRAMES.sum() for one in (a, b)]
    assert found["nll"].value == pytest.approx(expected[0] - expected[1])
    assert not withheld


def test_tempo_is_compared_over_the_captions_that_state_one() -> None:
    found, _ = differences(result(0.1), result(), 100, 0)
    assert (found["tempo"].value, found["tempo"].n) == (1.0, 30)


def test_distances_are_subtracted_draw_by_draw() -> None:
    a, b = result(shift=0.5), result(shift=0.45)
    found, _ = differences(a, b, 100, 0)
    draws = frechet.replicates(REFERENCE.clips, [embeddings(MADE + s).clips for s in (0.5, 0.45)], 200, 0)
    spread = np.quantile(draws[:, 0] - draws[:, 1], (0.025, 0.975))
    assert found["fad"].high - found["fad"].low == pytest.approx(spread[1] - spread[0], rel=1e-5)
    assert found["fad"].low < found["fad"].value < found["fad"].high
    alone = a.estimates["clap_fad_generated"]
    assert found["fad"].high - found["fad"].low < (alone["high"] - alone["low"]) / 3
    assert found["kad"].value == pytest.approx(
        a.estimates["clap_kad_generated"]["value"] - b.estimates["clap_kad_generated"]["value"]
    )


def test_what_cannot_be_paired_is_withheld_with_the_reason() -> None:
    a, b = result(), result()
    fewer = replace(b, tables=b.tables | {"clap": b.tables["clap"][1:]})
    assert differences(a, fewer, 50, 0)[1] == {"clap": "not over the same clips, 2 at least: 60 of A, 59 of B"}
    heard = replace(a, tables=a.tables | {"nll": a.tables["nll"].assign(**{"caption+prompt": CLIPS})})
    assert differences(heard, b, 50, 0)[1] == {"nll_prompt": "only A has measured it"}
    other = replace(b, notes={"clap": b.notes["clap"] | {"reference": {"n": 3}}})
    found, withheld = differences(a, other, 50, 0)
    assert "another reference" in withheld["fad"]
    assert "fad" not in found
    short = replace(b, draws={name: draws[:100] for name, draws in b.draws.items()})
    assert "resamples" in differences(a, short, 50, 0)[1]["kad"]


def test_results_are_read_from_the_files_that_scores_left(tmp_path: Path) -> None:
    made = result()
    scores = Scores(tables=made.tables, draws=made.draws, notes=made.notes)
    write_json(tmp_path / "nll" / "details.json", Scores().details)
    write_json(tmp_path / "audio" / "details.json", {**scores.details, "estimates": made.estimates})
    for place, table in scores.files.items():
        write_table(tmp_path / "audio" / place, table)
    read = paired.Result.read(tmp_path)
    assert differences(read, made, 50, 0)[0]["fad"].value == 0
    assert differences(read, made, 50, 0)[0]["nll"].value == 0
