"""The page of four tabs. Each tab is a file."""

from typing import Any

from musicgen_lite.app import about_tab, compare_tab, create_tab, runs_tab
from musicgen_lite.app.context import Context, gr

CSS = """
.gradio-container > main, .gradio-container .app { width: 100% !important; max-width: 1100px !important; margin: 0 auto !important; }
.picked { border-left: 4px solid var(--color-accent); padding-left: 8px; }
.prose table { display: block; overflow-x: auto; border: 0 !important; padding: 0 !important; }
.prose td, .prose th { word-break: normal !important; overflow-wrap: normal !important; }
footer { display: none !important; }
"""


def build(context: Context) -> "gr.Blocks":
    """The whole page."""
    with gr.Blocks(analytics_enabled=False, title="MusicGen-Lite", delete_cache=(600, 3600)) as page:
        gr.Markdown("# MusicGen-Lite\nType what to play, and hear it while it is made.")
        with gr.Tab("Create"):
            model = create_tab.build(context, page)
        with gr.Tab("Compare"):
            sides = compare_tab.build(context)
        with gr.Tab("Runs"):
            runs_tab.build(context, [model, *sides])
        with gr.Tab("About the model") as about:
            about_tab.build(context, model, about)

        def offered() -> list[Any]:
            """What has come since the page was built, such as the model of a run that somebody chose."""
            return [gr.update(choices=context.shelf.names) for _ in (model, *sides)]

        page.load(offered, None, [model, *sides], queue=False, show_progress="hidden", api_visibility="private")
    return page
