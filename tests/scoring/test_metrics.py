"""The registry: one entry per metric, the headline as it was agreed, and columns that follow from the estimates."""

import pytest

from musicgen_lite.scoring import metrics
from musicgen_lite.scoring.audio.embedders import Embedders
from musicgen_lite.scoring.metrics import BY_KEY, GROUPS, HEADLINE, PROMPTED, columns, find, prompted
from tests.support.standins import RoundingCodec, ToneClap, small_vggish


def test_every_key_and_every_estimate_stands_once() -> None:
    everything = [metric for group in GROUPS.values() for metric in group]
    assert len(BY_KEY) == len(everything)
    assert len({metric.estimate for metric in everything}) == len(everything)
    assert len({metric.label for metric in everything}) == len(everything)


def test_the_headline_fits_a_terminal_without_those_of_audio_prompts() -> None:
    assert {
        "nll", "nll_bigram", "caption_gain", "prompt_gain", "clap", "clap_gain", "clap_prompted", "prompt_sim_gain",
        "judge_gain", "fad", "fad_codec", "fad_prompted", "pulse", "tempo",
    } == HEADLINE  # fmt: skip


def test_every_metric_of_the_headline_has_a_direction_but_the_baseline() -> None:
    assert {key for key in HEADLINE if not BY_KEY[key].better} == {"nll_bigram"}


def test_columns_hold_the_logged_metrics_of_a_stage_whose_estimates_are_there() -> None:
    estimates = ["nll_caption", "nll_caption_q1", "nll_caption_q2", "nll_text_gain", "nll_uniform", "clap_real"]
    assert columns("nll", estimates, 2) == {
        "nll": "nll_caption",
        "nll_q1": "nll_caption_q1",
        "nll_q2": "nll_caption_q2",
    }
    audio = ["clap", "clap_first", "clap_random", "clap_prompted", "mel_kad_generated", "mel_kad_real"]
    assert columns("audio", audio) == {
        "clap": "clap", "clap_n1": "clap_first", "clap_prompted": "clap_prompted", "kad_mel": "mel_kad_generated",
    }  # fmt: skip
    assert columns("reference", audio) == {"kad_mel_real": "mel_kad_real"}


def test_samples_with_an_audio_prompt_have_names_tables_and_notes_of_their_own() -> None:
    one = prompted(BY_KEY["fad"])
    assert (one.key, one.estimate, one.label) == (
        "fad_prompted",
        "clap_fad_generated_prompted",
        "FAD, CLAP, with audio prompt",
    )
    assert {path[0] for _, path in one.comparable_by.values()} == {"clap_prompted"}
    clap = prompted(BY_KEY["clap"]).by_prompt
    assert clap is not None
    assert clap.table == f"clap{PROMPTED}"


@pytest.mark.parametrize(("key", "label"), [("nll_q12", "NLL, codebook 12"), ("clap", "CLAP score")])
def test_a_metric_is_found_by_its_key(key: str, label: str) -> None:
    found = find(key)
    assert found is not None
    assert (found.key, found.label) == (key, label)
    assert find("newcomer") is None


def test_every_space_has_its_metrics() -> None:
    spaces = [space.name for space in Embedders(ToneClap(), RoundingCodec()).spaces]
    assert spaces == [name for name, _, _ in metrics.SPACES]
    names = tuple(suffix.removeprefix("_") for _, suffix, _ in metrics.PROTOCOLS)
    protocols = Embedders(ToneClap(), RoundingCodec(), None, ("ours", *names), vggish=small_vggish()).spaces
    measured = [space.name for space in protocols if metrics.titles(space.name)]
    assert measured == [name for name, _, _ in metrics.SPACES + metrics.PROTOCOLS]
    assert {space.name for space in protocols} - {name for name, _, _ in metrics.SPACES} == set(metrics.THEIR_TITLES)


def test_labels_leave_room_for_the_values_of_a_terminal() -> None:
    shown = (*metrics.LIKELIHOOD, *metrics.GENERATED, *metrics.LIKENESS)
    assert max(len(metric.label) for metric in shown) <= 50
