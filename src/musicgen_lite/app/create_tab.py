"""Create: type, hear while it is made, choose among the candidates."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from musicgen_lite.app import live
from musicgen_lite.app.context import Context, gr, model_choice, session_of
from musicgen_lite.app.form import EXAMPLES, Form, read_number
from musicgen_lite.app.making import STOPPED, makes, stop_button
from musicgen_lite.app.models import NONE
from musicgen_lite.generator import Music
from musicgen_lite.io import audio
from musicgen_lite.report.plots import spectrogram

OPTIONAL = ("seed", "guidance_audio", "tempo")  # fields that may be empty


@dataclass(frozen=True)
class Made:
    """A finished piece: its files on disk by candidate, its seed, and the lines that make it again."""

    sounds: tuple[str, ...]
    pictures: tuple[str, ...]
    labels: tuple[str, ...]
    picked: int
    flac: str
    seed: int
    command: str
    python: str


def build(context: Context, page: "gr.Blocks") -> "gr.Dropdown":
    """The tab; gives the choice of the model, which other tabs read and change."""
    if not context.shelf.names:
        gr.Markdown(f"**{NONE}**")
    with gr.Row():
        with gr.Column(scale=1, min_width=320):
            fields, model, seed, go, stop = _inputs(context)
        with gr.Column(scale=1, min_width=320):
            player = gr.Audio(
                label="Heard while it is made (candidate 1)",
                streaming=True,
                autoplay=True,
                interactive=False,
                buttons=[],
            )
            status = gr.Markdown("Nothing made yet.", elem_id="status")
            made = gr.State(None)
            _results(made, seed)

    def create(request: gr.Request, *values: Any) -> Iterator[tuple[Any, ...]]:
        names = (
            "model",
            "prompt",
            "seconds",
            "guidance",
            "candidates",
            "seed",
            "guidance_audio",
            "tempo",
            "style",
            "continued",
        )
        given = dict(zip(names, values, strict=True))
        form = Form(**{**given, **{name: read_number(name, given[name]) for name in OPTIONAL}}).with_seed()
        yield from _create(context, form, session_of(request))

    def leave(request: gr.Request) -> None:
        context.studio.stop(session_of(request))

    given, shown = [model, *fields], [player, status, made]
    makes(
        context,
        (go, stop),
        status,
        create,
        given,
        shown,
        api_name="create",
        cancel_name="cancel",
        show_progress="hidden",
    )
    page.unload(leave)
    return model


def _inputs(context: Context) -> tuple[list[Any], "gr.Dropdown", "gr.Textbox", "gr.Button", "gr.Button"]:
    prompt = gr.Textbox(label="Prompt", lines=2, placeholder=EXAMPLES[0], max_length=1000)
    gr.Examples([[text] for text in EXAMPLES], [prompt], label="Examples")
    model = model_choice(context)
    with gr.Row():
        seconds = gr.Number(10, label="Seconds", min_width=90)
        candidates = gr.Number(1, label="Candidates", min_width=90)
        seed = _optional("Seed", "new", min_width=90)
    with gr.Accordion("More settings", open=False):
        guidance = gr.Number(2.0, label="Guidance (1 is none)")
        guidance_audio = _optional("Guidance of the style clip (model B)", "one for prompt and clip")
        tempo = _optional("Tempo in BPM", "from the prompt")
        clips = {"type": "filepath", "sources": ["upload", "microphone"], "editable": False, "buttons": []}
        style = gr.Audio(label="Style: a clip whose first seconds set it (model B)", **clips)
        continued = gr.Audio(label="Continue: a clip that the music goes on from", **clips)
    with gr.Row():
        go = gr.Button("Generate", variant="primary")
        stop = stop_button()
    fields = [prompt, seconds, guidance, candidates, seed, guidance_audio, tempo, style, continued]
    return fields, model, seed, go, stop


def _optional(label: str, empty: str, **options: Any) -> "gr.Textbox":
    """A field for a number that may be empty: Gradio's own field for numbers would show and send 0."""
    return gr.Textbox(label=label, placeholder=empty, max_lines=1, **options)


def _create(context: Context, form: Form, session: str) -> Iterator[tuple[Any, ...]]:
    """Sound, status and result of each step."""
    streams = live.possible()
    note = (
        "" if streams else " The sound comes at the end: ffmpeg and ffprobe, which stream it, are not both installed."
    )
    # An empty player, not an empty stream: a browser asks for a stream that has no sound yet again only after a second or two.
    yield gr.update(value=None), f"Starting…{note}", None
    finished = False
    for step in context.studio.make(form, session):
        if step.music is None:
            heard = live.segment(step.samples, step.rate) if streams else gr.skip()
            yield heard, f"{step.share:.0%} of candidate 1 is made.{note}", None
        else:
            finished = True
            yield gr.skip(), _summary(form, step.music), _files(context, form, step.music)
    if not finished:
        yield gr.skip(), STOPPED, None


def _summary(form: Form, music: Music) -> str:
    seconds = len(music.samples) / music.rate
    made = f"Done: {seconds:.1f} s in {music.elapsed_s:.1f} s, {music.real_time_factor:.1f}x real time, with seed {form.seed:g}."
    several = " CLAP tells how well each fits the prompt; the best is picked." if len(music.candidates) > 1 else ""
    return made + several


def _files(context: Context, form: Form, music: Music) -> Made:
    folder = context.folder / uuid.uuid4().hex
    folder.mkdir(parents=True)
    sounds, pictures, labels = [], [], []
    for number, samples in enumerate(music.candidates):
        sound, picture = folder / f"candidate-{number + 1}.wav", folder / f"candidate-{number + 1}.png"
        audio.write(sound, samples, music.rate)
        picture.write_bytes(spectrogram(samples, music.rate))
        told_tempo = f", {music.tempos[number]:.0f} BPM" if music.tempos else ""
        sounds.append(str(sound))
        pictures.append(str(picture))
        labels.append(f"Candidate {number + 1}: CLAP {music.scores[number]:.3f}{told_tempo}")
    flac = folder / "picked.flac"
    music.write(flac)
    place = context.shelf.place(form.model)
    return Made(
        tuple(sounds),
        tuple(pictures),
        tuple(labels),
        music.picked,
        str(flac),
        int(form.seed or 0),
        form.command(place),
        form.python(place),
    )


def _results(made: "gr.State", seed: "gr.Textbox") -> None:
    @gr.render(inputs=[made], queue=False)
    def show(found: Made | None) -> None:
        if found is None:
            return
        for number, label in enumerate(found.labels):
            picked = number == found.picked
            with gr.Column(elem_classes=["picked"] if picked else []):
                gr.Audio(found.sounds[number], label=f"{label}{' – picked' if picked else ''}", buttons=["download"])
                gr.Image(found.pictures[number], show_label=False, interactive=False, buttons=[], height=150)
        with gr.Row():
            gr.DownloadButton("Download as FLAC", found.flac, size="md")
            again = gr.Button(f"Again with this seed ({found.seed})", size="md")
        again.click(lambda: str(found.seed), None, seed, queue=False, api_visibility="private")
        lines = {"interactive": False, "wrap_lines": True, "show_line_numbers": False}
        with gr.Accordion("Make it again: command line and Python", open=False):
            gr.Code(found.command, language="shell", label="Command line", lines=1, max_lines=6, **lines)
            gr.Code(found.python, language="python", label="Python", max_lines=10, **lines)
