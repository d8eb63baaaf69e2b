"""What the page does, without the page."""

import os
import random
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from musicgen_lite import load
from musicgen_lite.app import blind
from musicgen_lite.app.form import Form, read_number
from musicgen_lite.app.models import Shelf
from musicgen_lite.app.serve import Options, start
from musicgen_lite.app.studio import Studio
from musicgen_lite.app.tables import table
from musicgen_lite.cli import app
from musicgen_lite.errors import UserError
from musicgen_lite.io import audio
from musicgen_lite.report.votes import read_votes
from tests.support.tracked_runs import settings

PROMPT = "A fast techno beat with a synth lead."


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompt": " "}, "prompt: it is empty"),
        ({"prompt": "x" * 1001}, "prompt: 1001 characters; at most 1000"),
        ({"seconds": None}, "seconds: it is empty"),
        ({"seconds": 301}, "seconds: found 301; above 0 and at most 300"),
        ({"candidates": 65}, "candidates: found 65; 1 to 64"),
        ({"candidates": 1.5}, "candidates: found 1.5; a whole number"),
        ({"seed": -1}, "seed: found -1"),
        ({"seed": 0.5}, "seed: found 0.5; a whole number"),
        ({"tempo": 5}, "tempo: found 5; 20 to 400 BPM"),
    ],
)
def test_a_form_is_refused_in_the_words_of_the_command_line(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Form(**{"model": "a", "prompt": PROMPT, **changes}).request()  # type: ignore[arg-type]


def test_a_field_that_may_be_empty_takes_a_number_or_nothing() -> None:
    assert [read_number("seed", text) for text in (None, "", " ", "0", " 7 ")] == [None, None, None, 0.0, 7.0]
    with pytest.raises(UserError, match="tempo: found 'fast'; give a number, or leave it empty"):
        read_number("tempo", "fast")
    drawn = {Form("a", PROMPT, seed=None).with_seed().seed for _ in range(20)}
    assert None not in drawn
    assert len(drawn) > 1
    assert Form("a", PROMPT, seed=0).with_seed().seed == 0


def test_only_what_is_on_the_shelf_is_read(models: dict[str, str], tmp_path: Path) -> None:
    shelf = Shelf({"mine": models["a"]}, tmp_path)
    for name in ("/etc/passwd", models["b"], "shipped-b "):
        with pytest.raises(UserError, match="is not offered here; allowed are"):
            shelf.get(name)
    shelf.add("run 1", Path(models["b"]))
    assert shelf.names[-1] == "run 1"
    assert shelf.get("run 1").model.config.type == "b"
    with pytest.raises(UserError, match=r"model 'other': there is no file gone\.safetensors; name one"):
        Shelf({"mine": models["a"], "other": "gone.safetensors"}, tmp_path)
    with pytest.raises(UserError, match=r"No model is here yet.*make repro"):
        empty = Shelf({}, tmp_path)
        empty._places.clear()  # whatever this version ships
        empty.get("a")


def test_the_lines_that_the_page_shows_make_the_same_music(
    studio: Studio, models: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    soundfile.write("it's mine.wav", 0.2 * np.sin(np.arange(32000) / 8), 16000)
    form = Form(models["b"], PROMPT, 0.7, 3.0, 1.5, 2, 5, None, str(tmp_path / "it's mine.wav"))
    steps = list(studio.make(form, "me"))
    music = steps[-1].music
    assert music is not None
    assert np.abs(np.concatenate([step.samples for step in steps]) - music.candidates[0]).max() <= 1e-6
    audio.write("page.wav", music.samples, music.rate)  # as the page does
    expected = Path("page.wav").read_bytes()
    assert [step.share for step in steps] == sorted(step.share for step in steps)
    command = shlex.split(form.command(models["b"]))
    done = CliRunner().invoke(app, [*command[1:], "--threads", "1"])
    assert done.exit_code == 0, done.output
    assert Path("music.wav").read_bytes() == expected
    Path("music.wav").unlink()
    exec(form.python(models["b"]), {})
    assert Path("music.wav").read_bytes() == expected


def test_a_session_that_stops_frees_the_core_and_others_go_on(studio: Studio, models: dict[str, str]) -> None:
    long = studio.make(Form(models["a"], PROMPT, 300), "me")
    first = next(long)
    studio.stop("somebody else")
    assert next(long).share > first.share
    studio.stop("me")
    rest = list(long)
    assert all(step.music is None for step in rest)
    assert sum(len(step.samples) for step in rest) < 290 * 16000
    assert list(studio.make(Form(models["a"], PROMPT, 0.3), "me"))[-1].music is not None


def test_what_is_heard_first_comes_in_one_step(studio: Studio, models: dict[str, str]) -> None:
    """A browser that is told of the first of several steps finds that one alone, and soon falls silent."""
    steps = studio.make(Form(models["a"], PROMPT, 4), "me")
    first = next(steps)
    assert 1.5 <= len(first.samples) / first.rate < 2.5
    assert sum(len(step.samples) for step in steps) == 4 * first.rate - len(first.samples)


def test_an_upload_is_named_as_the_person_named_it(studio: Studio, models: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "holiday.wav"
    path.write_text("this is no audio")
    for clip in ({"style": str(path)}, {"continued": str(path)}):
        with pytest.raises(UserError, match=r"^holiday\.wav: not audio that can be read"):
            next(studio.make(Form(models["b"], PROMPT, 0.3, **clip), "me"))  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"^holiday\.wav: this model takes no audio prompt"):
        next(studio.make(Form(models["a"], PROMPT, 0.3, style=str(path)), "me"))


def test_votes_are_those_that_the_command_line_reads(tmp_path: Path) -> None:
    settings = blind.Setting("a", 2), blind.Setting("b, old", 3)
    orders = [blind.begin(PROMPT, seed, settings, random.Random(seed)) for seed in range(20)]
    assert {turned for _, turned in orders} == {True, False}
    for trial, turned in orders:
        assert trial.first == settings[turned].label
        assert trial.second == settings[not turned].label
    votes: list = []
    for trial, _ in orders:
        votes = blind.vote(votes, trial, trial.first)
    votes = blind.vote(votes, orders[0][0], "")  # on second thoughts
    (tmp_path / "votes.csv").write_text(blind.votes_csv(votes), encoding="utf-8")
    assert read_votes([tmp_path / "votes.csv"]) == votes
    assert len(votes) == 20
    assert [vote.preferred for vote in votes].count("") == 1
    with pytest.raises(UserError, match="both sides are a, guidance 2; choose another"):
        blind.begin(PROMPT, 0, (settings[0], settings[0]), random.Random(0))


def test_text_in_a_table_is_shown_as_it_is() -> None:
    shown = table(["prompt", "preferred"], [["a | b\n<b>*c*", ""]])
    assert shown.splitlines() == ["| prompt | preferred |", "| --- | --- |", r"| a \| b \<b\>\*c\* |  |"]


def test_both_sides_are_equally_loud() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 32000).astype(np.float32)
    loud, soft = blind.levelled([noise, noise * 0.1], [16000, 16000])
    assert np.abs(loud - soft).max() < 1e-3
    assert np.abs(loud).max() <= 0.95 + 1e-6
    silent, _ = blind.levelled([np.zeros(32000, np.float32), noise], [16000, 16000])
    assert not silent.any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"port": 70000}, "port: found 70000"),
        ({"auth": "me"}, "auth: give a user and a password as user:password"),
        ({"auth": ":x"}, "auth: give a user"),
        ({"waiting": 0}, "waiting: found 0"),
        ({"threads": -1}, "threads: found -1"),
    ],
)
def test_a_server_that_cannot_be_is_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Options(**options).check()  # type: ignore[arg-type]
    assert "GRADIO_TEMP_DIR" not in os.environ


@pytest.mark.parametrize("kind", ["a", "b"])
def test_the_card_of_a_shipped_model_is_shown(kind: str) -> None:
    pytest.importorskip("gradio")
    from musicgen_lite.app.about_tab import describe

    name = f"shipped-{kind}"
    shown = describe(name, name, load(name, clap=""))
    assert f"# The shipped model {kind.upper()}" in shown
    assert "What it cannot do" in shown


def test_without_gradio_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(UserError, match=r"musicgen-lite\[app\]"):
        start({}, Options(), settings(), tmp_path, tmp_path)
