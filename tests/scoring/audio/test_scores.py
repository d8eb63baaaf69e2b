"""Distances between sets, and the scores of whole stages, with embedders that have no weights."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from musicgen_lite.errors import UserError
from musicgen_lite.io import audio
from musicgen_lite.scoring.audio.distances import audio_distances, noise_like
from musicgen_lite.scoring.audio.embedders import Embedders
from musicgen_lite.scoring.audio.scores import score_generated, score_reference
from musicgen_lite.scoring.audio.sets import (
    ClipSet,
    GeneratedSet,
    ReferenceClips,
    ReferenceSets,
    as_noise,
    embed_reference,
    load_reference,
    reconstructed,
)
from musicgen_lite.scoring.metrics import BY_KEY
from musicgen_lite.scoring.statistics import intervals
from musicgen_lite.scoring.statistics.intervals import Bootstrap
from tests.support import standins
from tests.support.standins import RATE, RoundingCodec, ToneClap, sine, small_vggish

PICKER, JUDGE, CODEC = ToneClap(), ToneClap(0.7), RoundingCodec()
EMBEDDERS, WITHOUT_JUDGE, FEW = Embedders(PICKER, CODEC, JUDGE), Embedders(PICKER, CODEC), Bootstrap(20)
FAD_SETS = ("real", "reconstruction", "generated", "few_genres", "noise")
HZ = {f"t{i:02d}": 200.0 * 2 ** (i / 6) for i in range(16)}
REFERENCE, OTHER = sorted(HZ)[::2], sorted(HZ)[1::2]
CAPTIONS, TRACKS = {i: str(HZ[i]) for i in OTHER}, {i: i for i in HZ}


def read(clip: str) -> tuple[np.ndarray, int]:
    return sine(HZ[clip]) + sine(3 * HZ[clip], level=0.05), RATE


def candidate(clip: str, k: int) -> tuple[np.ndarray, int]:
    """The right tone, more and more out of tune and noisy."""
    wave = sine(HZ[clip] * (1 + 0.2 * k))
    return wave + noise_like(wave, int(clip[1:])) * np.float32(0.1 * (1 + k)), RATE


def other_genre(clip: str) -> tuple[np.ndarray, int]:
    return sine(3 * HZ[clip]) + sine(7 * HZ[clip], level=0.2), RATE


REAL = PROMPTS = ClipSet(OTHER, read)
TRAINING = ClipSet([f"train{i}" for i in range(9)], lambda clip: (sine(190 * 1.3 ** int(clip[5:])), RATE))
CLIPS = ReferenceClips(
    CAPTIONS, TRACKS, ClipSet(REFERENCE, read), REAL, reconstructed(REAL, CODEC), as_noise(REAL, 0), PROMPTS,
    ClipSet(OTHER, other_genre), TRAINING,
)  # fmt: skip


@pytest.fixture(scope="module")
def sets() -> ReferenceSets:
    return embed_reference(CLIPS, EMBEDDERS)


def generated(**changes: object) -> GeneratedSet:
    return replace(GeneratedSet(CAPTIONS, TRACKS, dict.fromkeys(OTHER, 0), 3, candidate), **changes)  # type: ignore[arg-type]


def test_sets_are_in_order_and_differences_are_paired(rng: np.random.Generator) -> None:
    rows = rng.normal(size=(40, 6))
    reference = standins.embeddings(rng.normal(size=(40, 6)), prefix="r")
    steps = {"real": 0.0, "near": 0.4, "far": 1.0}
    scores = audio_distances(reference, {n: standins.embeddings(rows + s) for n, s in steps.items()}, Bootstrap(200))
    for title in ("fad", "kad"):
        assert scores.estimates[f"space_{title}_near_over_real"].low > 0
        assert scores.estimates[f"space_{title}_far_over_near"].low > 0
        difference = scores.estimates[f"space_{title}_far_over_near"]
        assert difference.low < difference.value < difference.high
        apart = [scores.estimates[f"space_{title}_{name}"] for name in ("near", "far")]
        assert difference.value == pytest.approx(apart[1].value - apart[0].value)
    assert scores.estimates["space_fad_near"].low < scores.estimates["space_fad_near"].value
    table = scores.tables["space_distances"]
    assert table["set"].tolist() == ["real", "near", "far"]
    assert table["fad"].is_monotonic_increasing
    assert table["n"].tolist() == [40, 40, 40]
    # 40 clips are enough for six dimensions: what is left of the bias is small beside the shift of 6.
    assert scores.estimates["space_fad_inf_far"].value == pytest.approx(6, abs=2.5)


def test_draws_of_two_results_give_the_interval_of_their_difference(rng: np.random.Generator) -> None:
    rows = rng.normal(size=(40, 6))
    reference = standins.embeddings(rng.normal(size=(40, 6)), prefix="r")
    sets = {"a": standins.embeddings(rows + 0.4), "b": standins.embeddings(rows + 0.5)}
    together = audio_distances(reference, sets, Bootstrap(200))
    apart = {name: audio_distances(reference, {"generated": one}, Bootstrap(200)) for name, one in sets.items()}
    for title in ("fad", "kad"):
        name = f"space_{title}_generated"
        value = apart["b"].estimates[name].value - apart["a"].estimates[name].value
        draws = apart["b"].draws[name] - apart["a"].draws[name]
        assert intervals.centred(value, draws, 40) == together.estimates[f"space_{title}_b_over_a"]


def test_the_order_of_clips_does_not_matter(rng: np.random.Generator) -> None:
    reference, one = (
        standins.embeddings(rng.normal(size=(12, 4)), prefix="r"),
        standins.embeddings(rng.normal(size=(12, 4))),
    )
    turned = one.select(one.ids[::-1])
    found = [audio_distances(reference, {"one": x}, Bootstrap(50)).details["estimates"] for x in (one, turned)]
    assert found[0] == found[1]


def test_fad_infinity_says_why_it_is_withheld(rng: np.random.Generator) -> None:
    reference, one = (
        standins.embeddings(rng.normal(size=(9, 8)), prefix="r"),
        standins.embeddings(rng.normal(size=(9, 8))),
    )
    scores = audio_distances(reference, {"one": one}, Bootstrap(50))
    assert "space_fad_inf_one" not in scores.estimates
    assert "9 clips are fewer than 2 x 8" in scores.notes["space"]["sets"]["one"]["fad_inf"]


def test_sets_that_cannot_be_compared_are_named(rng: np.random.Generator) -> None:
    rows = rng.normal(size=(6, 4))
    reference, one = standins.embeddings(rows, prefix="r"), standins.embeddings(rows)
    for bad, message in (
        (replace(one, fingerprint="g"), "set bad: embedded by space g, the reference by space f"),
        (replace(one, seconds=2.0), r"set bad: clips of 2\.00 s, the reference has 1\.00 s"),
        (replace(one, ids=("x", *one.ids[1:])), "set bad, compared with set one: no entry for 1"),
    ):
        with pytest.raises(UserError, match=message):
            audio_distances(reference, {"one": one, "bad": bad}, Bootstrap(50))
    with pytest.raises(UserError, match="'c000' is in the reference too"):
        audio_distances(standins.embeddings(rows), {"one": one}, Bootstrap(50))


def test_noise_has_the_level_of_its_clip() -> None:
    wave = sine(440, 2, level=0.2)
    noise = noise_like(wave, 1)
    assert audio.rms_db(noise) == pytest.approx(audio.rms_db(wave), abs=0.2)
    assert np.array_equal(noise, noise_like(wave, 1))
    assert not np.array_equal(noise, noise_like(wave, 2))
    assert noise.dtype == np.float32


def test_the_ends_of_every_scale(sets: ReferenceSets) -> None:
    assert sets.spaces["mel"].real.ids == tuple(OTHER)
    scores = score_reference(CLIPS, sets, PICKER, Bootstrap(100))
    values = {name: estimate.value for name, estimate in scores.estimates.items()}
    assert values["clap_real"] > 0.99
    order = ("real", "reconstruction", "few_genres", "noise")
    assert sorted(order, key=lambda name: values[f"mel_fad_{name}"]) == list(order)
    assert scores.estimates["mel_fad_noise_over_few_genres"].low > 0
    # The stand-in prompts are the clips themselves.
    assert values["chroma_real"] == pytest.approx(1)
    assert values["prompt_similarity_real"] == pytest.approx(1)
    assert values["prompt_similarity_real_gain"] > 0
    distances = {f"{title}{space}" for title in ("fad", "kad") for space in ("", "_codec", "_mel")}
    assert {f"{name}_{end}" for name in {"clap", "pulse"} | distances for end in ("real", "recon", "noise")} <= set(
        scores.metrics
    )
    assert scores.metrics["kad_mel_noise"] == intervals.rounded(values["mel_kad_noise"])
    assert scores.headline == {}, "the same for every experiment"


@pytest.mark.slow
def test_generated_samples_get_all_scores(sets: ReferenceSets, tmp_path: Path) -> None:
    given = generated()
    scores = score_generated(given, sets, EMBEDDERS, Bootstrap(100))
    metrics = scores.metrics
    wanted = {
        "clap",
        "clap_shuffled",
        "clap_n1",
        "judge",
        "judge_gain",
        "fad",
        "kad",
        "fad_codec",
        "fad_mel",
    }
    assert wanted | {"diversity", "silent", "clipping", "memorised"} <= set(metrics)
    assert not {"tempo", "pulse_stated", "key"} & set(metrics)
    assert scores.notes["tempo"] == "withheld: no caption states a tempo"
    assert scores.notes["key"] == "withheld: no caption states a key"
    shown = ("clap", "clap_gain", "fad", "fad_codec", "judge_gain", "pulse")
    assert sorted(scores.headline.items()) == [(name, float(f"{metrics[name]:.4g}")) for name in shown]
    assert metrics["clap"] > 0.99 > metrics["clap_shuffled"]
    assert metrics["judge_gain"] > 0
    assert metrics["silent"] == 0
    assert scores.estimates["mel_fad_noise_over_generated"].low > 0
    table = scores.tables["clap"]
    assert table["own"].to_numpy() == pytest.approx(table["candidate_0"].to_numpy())
    assert scores.tables["nearest"]["id"].tolist() == OTHER
    assert scores.notes["memorisation"]["training_clips"] == 9
    assert scores.tables["mel_clips"].columns.tolist() == ["id", *(f"fad_{name}" for name in FAD_SETS)]
    sets.save(tmp_path / "reference")
    stored = load_reference(tmp_path / "reference", EMBEDDERS, read)
    again = score_generated(given, stored, EMBEDDERS, Bootstrap(100))
    assert again.details == scores.details


def test_a_second_kind_of_samples_keeps_apart(sets: ReferenceSets) -> None:
    scores = score_generated(generated(prompts=PROMPTS), sets, WITHOUT_JUDGE, FEW)
    likeness = {"prompt_sim", "prompt_sim_gain", "chroma_gain"}
    assert all(
        name.endswith("_prompted")
        for name in (*scores.estimates, *set(scores.columns) - likeness, *scores.tables, *scores.notes)
    )
    assert scores.metrics["prompt_sim"] == intervals.rounded(scores.estimates["prompt_similarity_prompted"].value)
    assert "judge_prompted" not in scores.metrics
    assert set(scores.headline) == {"clap_prompted", "fad_prompted", "prompt_sim_gain"}
    assert scores.metrics["clap_prompted"] > 0.99


def test_silent_samples_are_scored_and_counted(sets: ReferenceSets) -> None:
    def half_silent(clip: str, k: int) -> tuple[np.ndarray, int]:
        wave, rate = candidate(clip, k)
        return (np.zeros_like(wave) if clip == OTHER[0] else wave), rate

    scores = score_generated(generated(read=half_silent), sets, WITHOUT_JUDGE, FEW)
    assert scores.metrics["silent"] == pytest.approx(1 / 8)
    assert len(scores.tables["clap"]) == 8
    assert scores.notes["mel"]["sets"]["generated"]["silent"] == [OTHER[0]]


def test_bad_samples_stop_the_scores_by_name(sets: ReferenceSets) -> None:
    def with_nan(clip: str, k: int) -> tuple[np.ndarray, int]:
        wave, rate = candidate(clip, k)
        return (wave * np.nan if (clip, k) == (OTHER[2], 1) else wave), rate

    def score(**changes: object) -> None:
        score_generated(generated(**changes), sets, WITHOUT_JUDGE, FEW)

    with pytest.raises(UserError, match=f"'{OTHER[2]}#1': holds NaN"):
        score(read=with_nan)
    with pytest.raises(UserError, match="picks of generated samples: no entry for 1"):
        score(picked=dict.fromkeys(OTHER[1:], 0))
    with pytest.raises(UserError, match="candidate 3 was picked, but there are 3"):
        score(picked=dict.fromkeys(OTHER, 3))
    with pytest.raises(UserError, match="generated samples: 1 clip"):
        score(captions={OTHER[0]: "440"}, picked={OTHER[0]: 0})
    with pytest.raises(UserError, match="set generated, compared with set real"):
        score(captions=dict.fromkeys(OTHER[1:], "440"), picked=dict.fromkeys(OTHER[1:], 0))


def of_another_system(ids: list[str], **changes: object) -> GeneratedSet:
    """One sample for each of `ids`, which need not be those of the test prompts."""
    chosen = {"captions": {clip: str(HZ[clip]) for clip in ids}, "picked": dict.fromkeys(ids, 0), "count": 1}
    return generated(**chosen, external=True, **changes)


def test_another_system_that_has_every_prompt_is_scored_as_a_model_without_reranking(sets: ReferenceSets) -> None:
    own = score_generated(of_another_system(OTHER), sets, EMBEDDERS, FEW)
    ours = score_generated(generated(count=1), sets, EMBEDDERS, FEW)
    assert own.details == ours.details
    assert own.estimates["clap_first"] == own.estimates["clap"]
    assert not {"clap_random", "clap_picked_over_random", "judge_picked_over_random", "diversity"} & set(own.estimates)


def test_with_some_of_the_prompts_it_is_held_against_the_real_clips_of_these(sets: ReferenceSets) -> None:
    some = OTHER[:-2]
    own = score_generated(of_another_system(some), sets, EMBEDDERS, FEW)
    assert {own.estimates[f"clap_fad_{name}"].n for name in FAD_SETS} == {len(some)}
    assert own.estimates["nearest_over_real"].n == len(some)
    whole, part = (
        one.notes["clap"]["sets"]["real"]["digest"] for one in (score_generated(generated(), sets, EMBEDDERS, FEW), own)
    )
    assert part.startswith(f"{whole}, 6 of 8 (")


def test_prompts_of_its_own_are_held_against_the_reference_alone(sets: ReferenceSets) -> None:
    tones = {f"own-{number:04d}": clip for number, clip in enumerate(OTHER)}
    captions = {own: str(HZ[clip]) for own, clip in tones.items()}
    samples = GeneratedSet(
        captions, TRACKS, dict.fromkeys(tones, 0), 1, lambda own, k: candidate(tones[own], k), external=True
    )
    own, ours = (
        score_generated(samples, sets, EMBEDDERS, FEW),
        score_generated(generated(count=1), sets, EMBEDDERS, FEW),
    )
    for name in ("clap", "clap_fad_generated", "codec_kad_generated", "pulse"):
        assert own.estimates[name] == ours.estimates[name]
    assert not {"clap_fad_real", "nearest", "memorised"} & set(own.estimates)
    assert own.notes["clap"]["sets"]["real"]["digest"].startswith("none, prompts of its own (")
    with pytest.raises(UserError, match="set generated, compared with set real"):
        score_generated(replace(samples, external=False), sets, EMBEDDERS, FEW)


@pytest.mark.parametrize(
    ("protocol", "space", "added"),
    [
        ("fadtk", "clap_fadtk", {"fad_fadtk"}),
        ("kadtk", "clap_kadtk", {"kad_kadtk"}),
        ("attm", "clap_attm", {"fad_attm", "clap_attm"}),
        ("audiocraft", "vggish_audiocraft", {"fad_audiocraft"}),
    ],
)
def test_another_protocol_is_another_metric_beside_ours(
    sets: ReferenceSets, tmp_path: Path, protocol: str, space: str, added: set[str]
) -> None:
    embedders = Embedders(PICKER, CODEC, None, ("ours", protocol), vggish=small_vggish())
    both = embed_reference(CLIPS, embedders)
    both.save(tmp_path / "both")
    scores = score_generated(generated(), load_reference(tmp_path / "both", embedders, read), embedders, FEW)
    ours = score_generated(generated(), sets, WITHOUT_JUDGE, FEW)
    assert set(scores.metrics) - set(ours.metrics) == added
    assert {name: scores.metrics[name] for name in ours.metrics} == ours.metrics
    for name in added:
        estimate = scores.estimates[BY_KEY[name].estimate]
        assert estimate.low <= estimate.value <= estimate.high
    assert scores.notes[space]["fingerprint"] != scores.notes["clap"]["fingerprint"]
    reference = score_reference(CLIPS, both, PICKER, FEW)
    assert {f"{name}_{one}" for name in added for one in ("real", "recon", "noise")} <= set(reference.metrics)
