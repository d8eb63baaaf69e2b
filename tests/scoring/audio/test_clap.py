import numpy as np
import pytest

from musicgen_lite.errors import UserError
from musicgen_lite.scoring.audio import clap
from musicgen_lite.scoring.audio.embedders import ClapEmbedder
from musicgen_lite.scoring.audio.embeddings import embed
from musicgen_lite.scoring.statistics.intervals import Bootstrap
from tests.support.standins import RATE, ToneClap, ring, sine

CLAP = ToneClap()
HZ = [220, 277, 349, 440, 554, 698, 880, 1108, 1397, 1760, 2217, 2793]
CAPTIONS = {f"c{i:02d}": str(hz) for i, hz in enumerate(HZ)}
TEXT = clap.embed_captions(CAPTIONS, CLAP)


def tones(hz: dict[str, float], seconds: float = 1.0) -> clap.Embeddings:
    return embed([(i, sine(f, seconds), RATE) for i, f in hz.items()], [ClapEmbedder(CLAP)], "tones")["clap"]


def test_matching_audio_scores_one_and_ranks_first_whatever_its_order() -> None:
    audio = tones({i: float(c) for i, c in reversed(CAPTIONS.items())})
    scores = clap.text_audio(TEXT, audio, "clap", Bootstrap(200))
    assert scores.estimates["clap"].value == pytest.approx(1, abs=1e-3)
    assert scores.estimates["clap_r1"].value == 1
    assert scores.estimates["clap_gain"].low > 0
    assert scores.estimates["clap_r10"].value == 1
    few = dict(list(CAPTIONS.items())[:10])
    short = clap.text_audio(clap.embed_captions(few, CLAP), audio.select(list(few)), "clap", Bootstrap(50))
    assert "clap_r10" not in short.estimates
    assert short.notes["clap_r10"] == "withheld: among 10 captions every one is in the first 10"
    table = scores.tables["clap"]
    partner = ring(12, 0)
    for i, row in table.iterrows():
        expected = float(CLAP.embed_text([str(HZ[partner[i]])])[0] @ audio.select([row["id"]]).means()[0])
        assert row["shuffled"] == pytest.approx(expected, abs=1e-6)


def test_a_clip_scores_the_mean_over_its_windows() -> None:
    wave = np.concatenate([sine(440), sine(880)])
    audio = embed([(i, wave, RATE) for i in CAPTIONS], [ClapEmbedder(CLAP)], "clips")["clap"]
    windows = CLAP.embed_audio([sine(440), sine(880)])
    expected = np.mean([TEXT.vectors[3] @ window for window in windows])
    assert clap.cosines(TEXT, audio)[3, 7] == pytest.approx(expected, abs=1e-6)


def test_ties_count_against_a_clip() -> None:
    same = tones(dict.fromkeys(CAPTIONS, 440.0))
    flat = clap.TextSpace(CLAP.fingerprint, CAPTIONS, np.tile(TEXT.vectors[0], (12, 1)))
    assert clap.text_audio(flat, same, "clap", Bootstrap(50)).estimates["clap_r10"].value == 0


def test_clips_of_one_caption_are_ranked_and_paired_by_text() -> None:
    """Ten clips of one caption, two of others: noise must not rank first because everything else reads alike."""
    words = dict.fromkeys(CAPTIONS, "440") | {"c10": "554", "c11": "698"}
    wrong = tones(dict.fromkeys(CAPTIONS, 660.0))  # between the last two
    scores = clap.text_audio(clap.embed_captions(words, CLAP), wrong, "clap", Bootstrap(50))
    ranks, table = scores.tables["clap"]["rank"].tolist(), scores.tables["clap"]
    assert ranks[:10] == [3] * 10
    assert sorted(ranks[10:]) == [1, 2]
    assert scores.estimates["clap_r1"].value == pytest.approx(1 / 12)
    assert scores.notes["clap_r10"] == "withheld: among 3 captions every one is in the first 10"
    assert scores.notes["clap_captions"] == "3 different captions of 12 clips"
    assert (table["own"] != table["shuffled"]).all()
    assert scores.estimates["clap_gain"].value < 0


def test_what_needs_several_captions_is_withheld_where_there_is_one() -> None:
    same = tones(dict.fromkeys(CAPTIONS, 440.0))
    scores = clap.text_audio(clap.embed_captions(dict.fromkeys(CAPTIONS, "440"), CLAP), same, "clap", Bootstrap(50))
    assert set(scores.estimates) == {"clap"}
    assert scores.notes["clap_gain"] == "withheld: all 12 clips share one caption, so that it cannot be shuffled"
    assert scores.notes["clap_r1"] == "withheld: among 1 captions every one is in the first 1"


def test_ranks_by_hand() -> None:
    hz = {i: float(c) for i, c in CAPTIONS.items()}
    hz["c00"], hz["c01"] = hz["c01"], hz["c00"]
    scores = clap.text_audio(TEXT, tones(hz), "clap", Bootstrap(50))
    assert scores.tables["clap"]["rank"].tolist()[:4] == [2, 2, 1, 1]
    assert scores.estimates["clap_r1"].value == pytest.approx(10 / 12)


def test_picking_is_judged_by_pairs_of_best_and_mean() -> None:
    values = np.array([[0.1, 0.5, 0.3], [0.2, 0.0, 0.7]])
    found = clap.reranking(values, np.array([1, 2]), "clap", Bootstrap(300))
    assert found["clap_first"].value == pytest.approx(0.15)
    assert found["clap_random"].value == pytest.approx(0.3)
    assert found["clap_picked_over_random"].value == pytest.approx(0.3)


def test_candidates_are_paired_by_id_and_their_spread_measured() -> None:
    hz = {clap.candidate_id(i, k): float(c) * (1 + k) for i, c in CAPTIONS.items() for k in (1, 0)}
    audio = tones(hz)
    values = clap.of_candidates(TEXT, audio, 2)
    assert values[:, 0] == pytest.approx(1, abs=1e-3)
    # An octave is half a radian on the stand-in's circle.
    assert values[:, 1] == pytest.approx(np.cos(0.5), abs=0.01)
    assert clap.diversity(TEXT, audio, 2) == pytest.approx(1 - np.cos(0.5), abs=0.01)
    with pytest.raises(UserError, match="no entry for 12 id"):
        clap.of_candidates(TEXT, audio, 3)


def test_missing_audio_and_foreign_models_are_named() -> None:
    hz = {i: float(c) for i, c in CAPTIONS.items()}
    audio = tones({i: f for i, f in hz.items() if i != "c04"})
    with pytest.raises(UserError, match="such as 'c04'"):
        clap.cosines(TEXT, audio)
    with pytest.raises(UserError, match=r"captions by CLAP tone1\.0, audio by tone0\.0"):
        clap.cosines(clap.embed_captions(CAPTIONS, ToneClap(1.0)), tones(hz))
