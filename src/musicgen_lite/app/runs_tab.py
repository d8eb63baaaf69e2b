"""Runs: finished MLflow runs with their headline metrics and sounds, and their models for the other tabs."""

import uuid
from typing import Any

from musicgen_lite import tracking
from musicgen_lite.app.context import Context, gr, told
from musicgen_lite.app.tables import plain, table
from musicgen_lite.errors import UserError
from musicgen_lite.scoring.metrics import BY_KEY
from musicgen_lite.tracking import Listed

HEADLINE = [metric for metric in BY_KEY.values() if metric.headline]
PLAYED = ("generated", "prompted")
MOST = 12  # sounds of a run that are shown
TALLEST = 480  # px of the table, which scrolls beyond

Sound = tuple[str, str, str]  # caption, kind, file


def build(context: Context, models: list["gr.Dropdown"]) -> None:
    """The tab; `models` are the choices that a run's model is added to."""
    note = gr.Markdown("The finished runs of this repository, as MLflow keeps them.")
    refresh = gr.Button("Show the runs")
    found_runs = gr.Markdown("", max_height=TALLEST)
    run = gr.Dropdown([], label="Run", visible=False)
    with gr.Row():
        use = gr.Button("Use this model", visible=False)
        hear = gr.Button("Hear its sounds", visible=False)
    heard = gr.State([])

    def show() -> tuple[Any, ...]:
        try:
            found = tracking.finished(context.tracking, context.root)
            context.shelf.offer_registered(context.tracking, context.root)
        except UserError as error:
            return f"No runs to show: {error}", "", *[gr.update(visible=False)] * 3, *_choices(context, models)
        names = [(f"{one.name} ({one.run_id[:8]})", one.run_id) for one in found]
        return (
            f"{len(found)} finished run{'s' if len(found) > 1 else ''}, the newest first.",
            described(found),
            gr.update(choices=names, value=names[0][1], visible=True),
            *[gr.update(visible=True)] * 2,
            *_choices(context, models),
        )

    def choose(run_id: str) -> list[Any]:
        with told():
            name = f"run {run_id[:8]}"
            context.shelf.add(name, tracking.model_file(context.tracking, context.root, run_id))
        gr.Info(f"{name} is chosen in the tab Create, and offered in Compare.")
        return [gr.update(choices=context.shelf.names, value=name), *_choices(context, models[1:])]

    def sounds(run_id: str) -> list[Sound]:
        with told():
            return _sounds(context, run_id)

    refresh.click(show, None, [note, found_runs, run, use, hear, *models], api_name="runs")
    use.click(choose, run, models, api_name="use")
    hear.click(sounds, run, heard, api_name="sounds")

    @gr.render(inputs=[heard], queue=False)
    def players(found: list[Sound]) -> None:
        for caption, kind, path in found:
            gr.Markdown(plain(caption))
            gr.Audio(path, label=kind, interactive=False, buttons=["download"])


def described(found: list[Listed]) -> str:
    """The table: a row for each run, with its headline metrics."""
    headers = ["Run", "Id", "Model", "Started", *(metric.label for metric in HEADLINE)]
    rows = [
        [one.name, one.run_id[:8], one.model.upper(), f"{one.started:%Y-%m-%d %H:%M}"]
        + [_rounded(one.metrics.get(metric.key)) for metric in HEADLINE]
        for one in found
    ]
    return table(headers, rows)


def _choices(context: Context, models: list["gr.Dropdown"]) -> list[Any]:
    return [gr.update(choices=context.shelf.names) for _ in models]


def _rounded(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _sounds(context: Context, run_id: str) -> list[Sound]:
    """The sounds that a run generated, those of the fixed prompts first."""
    (run,) = tracking.read(context.tracking, context.root, [run_id])
    if run.sounds is None:
        raise UserError(
            f"run {run.name}: written before runs kept their sounds; `dvc repro` on a newer commit keeps them"
        )
    listed = run.sounds[run.sounds["kind"].isin(PLAYED)].sort_values("fixed", ascending=False, kind="stable")
    folder = context.folder / uuid.uuid4().hex
    folder.mkdir(parents=True)
    found = []
    for number, row in enumerate(listed.head(MOST).to_dict("records")):
        path = folder / f"sound-{number + 1}.{'flac' if row['sound'][:4] == b'fLaC' else 'mp3'}"
        path.write_bytes(row["sound"])
        found.append((row["caption"], row["kind"], str(path)))
    return found
