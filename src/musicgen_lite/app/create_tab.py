"""Create: type, hear while it is made, choose among the candidates."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from musicgen_lite import wav
from musicgen_lite.app.context import CORE, Context, gr, model_choice, session_of, told
from musicgen_lite.app.form import EXAMPLES, Form
from musicgen_lite.app.models import NONE
from musicgen_lite.generator import Music
from musicgen_lite.io import audio
from musicgen_lite.report.plots import spectrogram


@dataclass(frozen=True)
class Made:
    """A finished piece: its files on disk by candidate, and the lines that make it again."""

    sounds: tuple[str, ...]
    pictures: tuple[str, ...]
    labels: tuple[str, ...]
    picked: int
    flac: str
    command: str
    python: str


def build(context: Context, page: "gr.Blocks") -> "gr.Dropdown":
    """The tab; gives the choice of the model, which other tabs read and change."""
    if not context.shelf.names:
        gr.Markdown(f"**{NONE}**")
    with gr.Row():
        with gr.Column(scale=1, min_width=320):
            fields, model, go, stop = _inputs(context)
        with gr.Column(scale=1, min_width=320):
            live = gr.Audio(
                label="Heard while it is made (candidate 1)",
                streaming=True,
                autoplay=True,
                interactive=False,
                buttons=[],
            )
            status = gr.Markdown("Nothing made yet.", elem_id="status")
            made = gr.State(None)
            _results(made)

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
        with told():
            yield from _create(context, Form(**dict(zip(names, values, strict=True))), session_of(request))

    def cancel(request: gr.Request) -> None:
        context.studio.stop(session_of(request))

    go.click(
        create, [model, *fields], [live, status, made], concurrency_limit=1, concurrency_id=CORE, api_name="create",
        show_progress="hidden",
    )  # fmt: skip
    stop.click(cancel, queue=False, api_name="cancel")
    page.unload(cancel)
    return model


def _inputs(context: Context) -> tuple[list[Any], "gr.Dropdown", "gr.Button", "gr.Button"]:
    prompt = gr.Textbox(label="Prompt", lines=2, placeholder=EXAMPLES[0], max_length=1000)
    gr.Examples([[text] for text in EXAMPLES], [prompt], label="Examples")
    model = model_choice(context)
    with gr.Row():
        seconds = gr.Number(10, label="Seconds", min_width=90)
        candidates = gr.Number(1, label="Candidates", min_width=90)
        seed = gr.Number(0, label="Seed", min_width=90)
    with gr.Accordion("More", open=False):
        guidance = gr.Number(2.0, label="Guidance (1 is none)")
        guidance_audio = gr.Number(None, label="Guidance of the style clip (empty: one for both)")
        tempo = gr.Number(None, label="Tempo in BPM, for a model with a beat condition (empty: from the prompt)")
        clips = {"type": "filepath", "sources": ["upload", "microphone"], "editable": False}
        style = gr.Audio(label="Style: a clip whose first seconds set it (model B)", **clips)
        continued = gr.Audio(label="Continue: a clip that the music goes on from", **clips)
    with gr.Row():
        go = gr.Button("Generate", variant="primary")
        stop = gr.Button("Stop")
    return [prompt, seconds, guidance, candidates, seed, guidance_audio, tempo, style, continued], model, go, stop


def _create(context: Context, form: Form, session: str) -> Iterator[tuple[Any, ...]]:
    """Sound, status and result of each step."""
    streams = gr.processing_utils.ffmpeg_installed()
    note = "" if streams else " The sound comes at the end: ffmpeg, which streams it, is not installed."
    yield None, f"Starting…{note}", None
    finished = False
    for step in context.studio.make(form, session):
        heard = (
            wav.header(step.rate, len(step.samples)) + wav.pcm(step.samples) if streams and len(step.samples) else None
        )
        if step.music is None:
            yield heard, f"{step.share:.0%} of candidate 1 is made.{note}", None
        else:
            finished = True
            yield None, _summary(step.music), _files(context, form, step.music)
    if not finished:
        yield None, "Stopped.", None


def _summary(music: Music) -> str:
    seconds = len(music.samples) / music.rate
    return f"Done: {seconds:.1f} s in {music.elapsed_s:.1f} s, {music.real_time_factor:.2f}x real time."


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
        tuple(sounds), tuple(pictures), tuple(labels), music.picked, str(flac), form.command(place), form.python(place)
    )


def _results(made: "gr.State") -> None:
    @gr.render(inputs=[made])
    def show(found: Made | None) -> None:
        if found is None:
            return
        for number, label in enumerate(found.labels):
            picked = number == found.picked
            with gr.Column(elem_classes=["picked"] if picked else []):
                gr.Audio(found.sounds[number], label=f"{label}{' – picked' if picked else ''}", buttons=["download"])
                gr.Image(found.pictures[number], show_label=False, interactive=False, buttons=[], height=150)
        gr.DownloadButton("Download the picked one as FLAC", found.flac)
        with gr.Accordion("Make it again: command line and Python", open=False):
            gr.Code(found.command, language="shell", label="Command line", interactive=False)
            gr.Code(found.python, language="python", label="Python", interactive=False)
