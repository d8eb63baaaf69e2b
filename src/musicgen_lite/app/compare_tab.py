"""Compare: two models, or two settings of one, heard blind; the votes are saved for `musicgen-lite compare --votes`."""

import random
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from musicgen_lite.app import blind
from musicgen_lite.app.context import Context, gr, model_choice, session_of, told
from musicgen_lite.app.form import Form
from musicgen_lite.app.making import STOPPED, makes, stop_button
from musicgen_lite.app.tables import table
from musicgen_lite.errors import UserError
from musicgen_lite.generator import Music
from musicgen_lite.io import audio
from musicgen_lite.report.votes import COLUMNS, Vote

CHOICES = ("The first", "The second", "Neither")


def build(context: Context) -> list["gr.Dropdown"]:
    """The tab; gives its choices of models, to which other tabs add."""
    gr.Markdown(
        "Both are made from one prompt and one seed, at one loudness, in an order that you are not told before you vote."
    )
    prompt = gr.Textbox(label="Prompt", placeholder="A relaxing piano melody with rain sounds.", max_length=1000)
    with gr.Row():
        seconds = gr.Number(5, label="Seconds", min_width=90)
        seed = gr.Number(0, label="Seed", min_width=90)
    models, guidances = [], []
    for number, name in enumerate("AB"):
        with gr.Row():
            models.append(model_choice(context, f"Model {name}", number, min_width=160))
            guidances.append(gr.Number(2.0, label=f"Guidance {name}", min_width=90))
    with gr.Row():
        go = gr.Button("Make both", variant="primary")
        stop = stop_button()
    status = gr.Markdown("")
    with gr.Row():
        sounds = [gr.Audio(label=label, interactive=False, buttons=[]) for label in ("First", "Second")]
    with gr.Row():
        buttons = [gr.Button(choice, interactive=False) for choice in CHOICES]
    trial, votes = gr.State(None), gr.State([])
    given_votes = gr.Markdown("")
    file = gr.DownloadButton("Download votes.csv", visible=False)

    def make(request: gr.Request, *values: Any) -> Iterator[tuple[Any, ...]]:
        return _make(context, session_of(request), *values)

    def preferred(found: blind.Trial | None, given: list[Vote], choice: str) -> tuple[Any, ...]:
        with told():
            return _vote(context, found, given, choice)

    given = [prompt, seconds, seed, models[0], guidances[0], models[1], guidances[1]]
    shown = [*sounds, trial, status, *buttons]
    makes(context, (go, stop), status, make, given, shown, api_name="compare", show_progress_on=sounds)
    for button in buttons:
        button.click(
            preferred,
            [trial, votes, button],
            [trial, votes, status, given_votes, file, *buttons],
            queue=False,
            api_visibility="private",
        )
    return models


def _make(
    context: Context, session: str, prompt: str, seconds: float, seed: float, *sides: Any
) -> Iterator[tuple[Any, ...]]:
    forms = [Form(model, prompt, seconds, guidance, seed=seed) for model, guidance in (sides[:2], sides[2:])]
    for form in forms:
        form.request()
    settings = tuple(blind.Setting(form.model, float(form.guidance or 0)) for form in forms)
    trial, turned = blind.begin(prompt, int(seed), (settings[0], settings[1]), random.Random())
    yield None, None, None, "Making both…", *_enabled(False)
    found: list[Music] = []
    for form in forms[::-1] if turned else forms:
        if (music := _whole(context, form, session)) is None:
            yield None, None, None, STOPPED, *_enabled(False)
            return
        found.append(music)
    folder = context.folder / uuid.uuid4().hex
    folder.mkdir(parents=True)
    rates = [one.rate for one in found]
    paths = []
    for number, samples in enumerate(blind.levelled([one.samples for one in found], rates)):
        paths.append(str(folder / f"sound-{number + 1}.wav"))
        audio.write(paths[-1], samples, rates[number])
    yield *paths, trial, "Which one do you prefer?", *_enabled(True)


def _whole(context: Context, form: Form, session: str) -> Music | None:
    """A whole piece; None where the session was stopped."""
    return next((step.music for step in context.studio.make(form, session) if step.music is not None), None)


def _vote(context: Context, trial: blind.Trial | None, votes: list[Vote], choice: str) -> tuple[Any, ...]:
    if trial is None:
        raise UserError("there is nothing to vote on; make both first")
    chosen = dict(zip(CHOICES, (trial.first, trial.second, ""), strict=True))[choice]
    votes = blind.vote(votes, trial, chosen)
    path: Path = context.folder / uuid.uuid4().hex / "votes.csv"
    path.parent.mkdir(parents=True)
    path.write_text(blind.votes_csv(votes), encoding="utf-8")
    shown = table(COLUMNS, [[getattr(one, name) for name in COLUMNS] for one in votes])
    said = f"First: {trial.first}. Second: {trial.second}."
    return (
        None,
        votes,
        said,
        f"### Your votes\n\n{shown}",
        gr.update(value=str(path), visible=True),
        *_enabled(False),
    )


def _enabled(yes: bool) -> list[Any]:
    return [gr.update(interactive=yes) for _ in CHOICES]
