"""Differences are paired by prompt, and withheld where two runs do not compare."""

import dataclasses
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from musicgen_lite.cli import app
from musicgen_lite.errors import UserError
from musicgen_lite.report.comparison import NOT_BY_PROMPT, Comparison, Row, compare
from musicgen_lite.report.comparison_text import comparison_text
from musicgen_lite.tracking import Result
from tests.support.runs_of_report import IDS, clap_table, draws, nll_table, result


def row(comparison: Comparison, key: str) -> Row:
    (found,) = [row for group in comparison.groups for row in group.rows if row.metric.key == key]
    return found


def noted(run: Result, stage: str, **notes: object) -> Result:
    """The run with other notes in one stage's details."""
    details = {**run.scores[stage], "notes": {**run.scores[stage]["notes"], **notes}}
    return dataclasses.replace(run, scores={**run.scores, stage: details})


def test_a_constant_shift_is_found_exactly_whatever_the_order_of_the_tables() -> None:
    other = result("other", shift=0.25)
    other.tables["clap"] = other.tables["clap"].sample(frac=1, random_state=1)
    comparison = compare([result("first"), other])
    for key in ("clap", "nll"):
        (one,) = row(comparison, key).differences
        assert one
        assert one.score
        assert one.sure
        assert (one.score.value, one.score.low, one.score.high) == pytest.approx((0.25, 0.25, 0.25))
        assert one.score.n == 8
    assert row(comparison, "clap").best == (1,)
    assert row(comparison, "nll").best == (0,)


def test_nll_differences_are_sums_over_sums_and_intervals_hold_them() -> None:
    first, other = result("first"), result("other")
    jitter = np.random.default_rng(0).normal(0.01, 0.05, 8)
    table = nll_table()
    other.tables["nll"] = table.assign(caption=table["caption"] + jitter)
    (one,) = row(compare([first, other]), "nll").differences
    expected = (jitter * table["frames"]).sum() / table["frames"].sum()
    assert one
    assert one.score
    assert one.score.low is not None
    assert one.score.high is not None
    assert one.score.value == pytest.approx(expected)
    assert one.score.low < expected < one.score.high
    assert abs(expected - jitter.mean()) > 1e-5, "the mean of means would pass too"


def test_a_tempo_counts_only_where_the_caption_states_one() -> None:
    other = result("other")
    other.tables["signals"].loc[2, "tempo_hit"] = True
    (one,) = row(compare([result("first"), other]), "tempo").differences
    assert one
    assert one.score
    assert (one.score.value, one.score.n) == (pytest.approx(1 / 3), 3)
    # The shares of the shared prompts agree on each of them, which is no proof that they are equal.
    (same,) = row(compare([result("first"), result("other")]), "tempo").differences
    assert same
    assert same.score
    assert same.score.low is not None
    assert same.score.low < 0 == same.score.value


def test_pulse_is_paired_over_all_prompts_and_key_and_stated_pulse_over_those_that_state_one() -> None:
    other = result("other")
    table = other.tables["signals"]
    table["pulse"] += 0.1
    table["pulse_stated"] += 0.2
    table.loc[1, "key_hit"] = True
    comparison = compare([result("first"), other])
    for key, value, count in (("pulse", 0.1, 8), ("pulse_stated", 0.2, 3), ("key", 0.5, 2)):
        (one,) = row(comparison, key).differences
        assert one
        assert one.score
        assert (one.score.value, one.score.n) == (pytest.approx(value), count)


def test_tempi_by_another_estimate_do_not_compare() -> None:
    """Such as those of runs from before the estimate was noted."""
    first, other = result("first"), noted(result("other"), "audio", signals={"clips": 8})
    (one,) = row(compare([first, other]), "tempo").differences
    assert one
    assert one.score is None
    assert one.reason == "other does not say its estimate of the tempo"
    (pulse,) = row(compare([first, other]), "pulse").differences
    assert pulse
    assert pulse.score


def test_unlike_measures_are_withheld_with_the_reason_and_no_best_is_marked() -> None:
    first, other = result("first"), result("other", shift=0.1)
    fewer = dataclasses.replace(other, tables={**other.tables, "clap": clap_table(0.1).iloc[:6]})
    (one,) = row(compare([first, fewer]), "clap").differences
    assert one
    assert one.score is None
    assert one.reason == "not the same prompts (8 and 6, 6 in both)"

    cases = {
        "clap": (noted(other, "audio", clap_model={"fingerprint": "cd"}), "not the same clap model (ab and cd)"),
        "nll": (noted(other, "nll", codec="other"), "not the same codec (c0dec and other)"),
        "fad": (
            noted(other, "audio", clap={**other.scores["audio"]["notes"]["clap"], "reference": {"digest": "x"}}),
            "not the same reference (ref and x)",
        ),
    }
    for key, (changed, reason) in cases.items():
        comparison = compare([first, changed])
        (one,) = row(comparison, key).differences
        assert one
        assert one.score is None
        assert one.reason == reason
        assert row(comparison, key).best == ()
        assert any(key in listed and reason in listed for _, listed in comparison.withheld)
    silent = noted(other, "nll", nll={})
    (one,) = row(compare([first, silent]), "nll").differences
    assert one
    assert one.reason == "other does not say its held-out tokens"


def test_likeness_to_the_audio_prompt_is_paired_by_the_prompted_samples() -> None:
    def with_prompt(name: str, shift: float) -> Result:
        run = result(name)
        table = pd.DataFrame({"id": IDS, "own": 0.4 + shift, "shuffled": 0.1})
        estimate = {"value": 0.3 + shift, "low": 0.2, "high": 0.5, "n": 8}
        audio = run.scores["audio"]
        audio["columns"] |= {"prompt_sim_gain": "prompt_similarity_gain_prompted"}
        audio["estimates"] |= {"prompt_similarity_gain_prompted": estimate}
        return dataclasses.replace(run, tables={**run.tables, "prompt_similarity_prompted": table})

    comparison = compare([with_prompt("first", 0.0), with_prompt("other", 0.2)])
    (one,) = row(comparison, "prompt_sim_gain").differences
    assert one
    assert one.score
    assert (one.score.value, one.score.low) == (pytest.approx(0.2), pytest.approx(0.2))
    titles = [group.title for group in comparison.groups if row(comparison, "prompt_sim_gain") in group.rows]
    assert titles == ["Generated from caption and audio prompt"]


def test_distances_are_compared_draw_by_draw() -> None:
    """Both runs drew the same clips: what moves both alike cancels, and 0.1 x (0.5 to 1.5) is left."""
    first, other = result("first"), result("other", shift=0.1)
    comparison = compare([first, other])
    (one,) = row(comparison, "fad").differences
    assert one
    assert one.score
    assert one.score.value == pytest.approx(0.1)
    assert (one.score.low, one.score.high) == (pytest.approx(0.0525, abs=0.001), pytest.approx(0.1475, abs=0.001))
    assert one.sure
    assert row(comparison, "fad").best == (0,)


def test_distances_without_draws_have_a_best_but_no_difference() -> None:
    comparison = compare([result("first"), result("other", shift=0.1, draws=pd.DataFrame())])
    (one,) = row(comparison, "fad").differences
    assert one
    assert one.reason == NOT_BY_PROMPT
    assert row(comparison, "fad").best == (0,)
    assert comparison.withheld == ()
    fewer = result("other", shift=0.1, draws=draws(0.1).head(30))
    (one,) = row(compare([result("first"), fewer]), "fad").differences
    assert one
    assert one.reason == "not as many clips or resamples (8 and 8, 40 and 30)"


def test_metrics_that_the_registry_does_not_know_are_shown_and_codebooks_are_named() -> None:
    comparison = compare([result("first"), result("other")])
    titles = {row.metric.key: group.title for group in comparison.groups for row in group.rows}
    assert titles["newcomer"] == "Other metrics"
    assert titles["nll_q1"] == "Likelihood"
    assert row(comparison, "nll_q1").metric.label == "NLL, codebook 1"


def test_equal_names_are_listed_apart_and_only_what_differs_is_listed() -> None:
    twin = result("same", run_id="f" * 32, params={"model.type": "b", "model.pattern": "delay", "seed": "0"})
    comparison = compare([result("same"), twin])
    assert comparison.labels[1] == "same (ffffffff)"
    assert comparison.settings == (("model.type", ("a", "b")),)


def test_more_runs_than_fit_are_refused() -> None:
    with pytest.raises(UserError, match="7 runs: at most 6"):
        compare([result(str(number)) for number in range(7)])


def test_the_terminal_shows_every_metric_difference_and_reason() -> None:
    out = io.StringIO()
    comparison = compare([result("first"), noted(result("other", 0.25), "nll", codec="x")])
    comparison_text(comparison, out)
    lines = out.getvalue().splitlines()
    (clap,) = [line for line in lines if line.startswith("clap ")]
    assert "+0.250!  (0.250 to 0.250)" in clap
    assert clap.count("*") == 1
    assert any(line.startswith("withheld for other: nll, nll_q1: not the same codec") for line in lines)
    assert not any("\x1b" in line for line in lines)
    assert {"newcomer", "fad", "tempo", "parameters"} <= {line.split()[0] for line in lines if line}


@pytest.mark.parametrize(
    ("output", "message"),
    [("keep.html", "there is a folder of this name"), ("/proc/x.html", "nothing can be written here")],
)
def test_where_the_page_cannot_be_written_is_named_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "keep.html").mkdir()
    (tmp_path / "keep.html" / "notes.txt").write_text("mine")
    done = CliRunner().invoke(app, ["compare", "-o", output])
    assert done.exit_code == 2
    assert f"{output}: {message}" in done.stderr
    assert (tmp_path / "keep.html" / "notes.txt").read_text() == "mine"


def test_votes_that_are_a_folder_are_named(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["compare", "--votes", str(tmp_path)])
    assert done.exit_code == 2
    assert f"{tmp_path}: not the name of a file" in done.stderr


def without_likelihood(name: str, kind: str = "external", why: str = "the audio of another system") -> Result:
    """The run of another system's audio, or of a pipeline of diffusers, which have none."""
    run = result(name, params={"model.type": kind, "model.name": "riffusion"}, tags={"external": "riffusion, digest d"})
    notes = {"not_applicable": f"{why} has no likelihood"}
    empty = {"estimates": {}, "columns": {}, "notes": notes}
    metrics = {key: value for key, value in run.metrics.items() if not key.startswith("nll") and key != "parameters"}
    tables = {key: table for key, table in run.tables.items() if key != "nll"}
    return dataclasses.replace(run, scores={**run.scores, "nll": empty}, tables=tables, metrics=metrics, curves=())


def test_another_systems_run_is_compared_by_its_audio_and_says_why_not_by_likelihood() -> None:
    comparison = compare([result("first"), without_likelihood("other")])
    (nll,) = row(comparison, "nll").differences
    reason = "not applicable to other: the audio of another system has no likelihood"
    assert nll
    assert (nll.score, nll.reason) == (None, reason)
    assert row(comparison, "nll").best == ()
    (clap,) = row(comparison, "clap").differences
    assert clap
    assert clap.score
    assert ("other", f"nll, nll_q1: {reason}") in comparison.withheld
    # The same where the other system is the first of the two, and nothing where neither has a likelihood.
    turned = compare([without_likelihood("other"), result("first")])
    assert ("first", f"nll, nll_q1: {reason}") in turned.withheld
    alone = compare([without_likelihood("one"), without_likelihood("two")])
    assert not any("not applicable" in why for _, why in alone.withheld)
    out = io.StringIO()
    comparison_text(comparison, out)
    assert "other  riffusion, external" in out.getvalue()
    assert f"withheld for other: nll, nll_q1: {reason}" in out.getvalue()


def test_a_tuned_model_another_system_and_a_pipeline_stand_beside_one_from_scratch() -> None:
    """MusicGen's codec is another: its likelihood does not compare, and that of the two others is none."""
    tuned = noted(result("tuned"), "nll", codec="c0dec of MusicGen")
    params = {"model.type": "musicgen", "model.pattern": "delay", "train.init": "owner/name", "train.steps": "9"}
    runs = [
        result("scratch"), dataclasses.replace(tuned, params=params), without_likelihood("other"),
        without_likelihood("diffused", "diffusers", "a pipeline of diffusers"),
    ]  # fmt: skip
    comparison = compare(runs)
    reasons = [one.reason if one else "" for one in row(comparison, "nll").differences]
    assert reasons == [
        "not the same codec (c0dec and c0dec of MusicGen)",
        "not applicable to other: the audio of another system has no likelihood",
        "not applicable to diffused: a pipeline of diffusers has no likelihood",
    ]
    assert row(comparison, "nll").best == ()
    assert all(one and one.score for one in row(comparison, "clap").differences)
    out = io.StringIO()
    comparison_text(comparison, out)
    for line in ("tuned  MusicGen tuned from owner/name, delay", "diffused  riffusion, diffusers"):
        assert line in out.getvalue()
    for label, reason in zip(("tuned", "other", "diffused"), reasons, strict=True):
        assert f"withheld for {label}: nll, nll_q1: {reason}" in " ".join(out.getvalue().split())


def test_other_numbers_of_candidates_are_said() -> None:
    best, single = (result(name, params={"sample.candidates": count}) for name, count in (("a", "4"), ("b", "1")))
    said = compare([best, single, without_likelihood("other")]).picking
    assert said.startswith("Scored is the best by CLAP of several candidates a prompt (a 4, b 1, other 1); clap_n1")
    out = io.StringIO()
    comparison_text(compare([best, single]), out)
    assert "(a 4, b 1); clap_n1 compares the first of each." in " ".join(out.getvalue().split())
    assert compare([best, best]).picking == compare([single, without_likelihood("other")]).picking == ""


def test_prompts_of_its_own_do_not_compare() -> None:
    first, other = result("first"), result("other")
    digest = {"real": {"digest": "none, prompts of its own (ab)"}}
    other = noted(other, "audio", clap={**other.scores["audio"]["notes"]["clap"], "sets": digest})
    (clap,) = row(compare([first, other]), "clap").differences
    assert clap
    assert clap.reason == "not the same prompts or real clips (real and none, prompts of its own (ab))"
