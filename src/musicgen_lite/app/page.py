"""The page of four tabs. Each tab is a file; what they share, and how errors are told, is here."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from musicgen_lite.app.models import Shelf
from musicgen_lite.app.studio import Studio
from musicgen_lite.errors import UserError, require
from musicgen_lite.params import TrackingParams

if TYPE_CHECKING:
    import gradio as gr
else:
    gr = require("gradio", extra="app", purpose="the web page")

CORE = "core"  # what computes waits for its turn under this name: one at a time
CSS = """
.gradio-container > main, .gradio-container .app { width: 100% !important; max-width: 1100px !important; margin: 0 auto !important; }
.picked { border-left: 4px solid var(--color-accent); padding-left: 8px; }
footer { display: none !important; }
"""


@dataclass(frozen=True)
class Context:
    """What all tabs work with. folder: of the files that the page shows; root: of the repository, whose runs are shown."""

    shelf: Shelf
    studio: Studio
    tracking: TrackingParams
    root: Path
    folder: Path


@contextlib.contextmanager
def told() -> Iterator[None]:
    """An error that a user can fix is shown on the page, and the page goes on."""
    try:
        yield
    except UserError as error:
        raise gr.Error(str(error), title="This cannot be made", duration=None, print_exception=False) from error


def session_of(request: "gr.Request") -> str:
    return str(request.session_hash)


def model_choice(context: Context, label: str = "Model", **options: Any) -> "gr.Dropdown":
    names = context.shelf.names
    return gr.Dropdown(names, value=names[0] if names else None, label=label, **options)


def build(context: Context) -> "gr.Blocks":
    """The whole page."""
    from musicgen_lite.app import about_tab, compare_tab, create_tab, runs_tab

    with gr.Blocks(analytics_enabled=False, title="MusicGen-Lite", delete_cache=(600, 3600)) as page:
        gr.Markdown("# MusicGen-Lite\nType what to play, and hear it while it is made.")
        with gr.Tab("Create"):
            model = create_tab.build(context, page)
        with gr.Tab("Compare"):
            sides = compare_tab.build(context)
        with gr.Tab("Runs"):
            runs_tab.build(context, [model, *sides])
        with gr.Tab("About the model"):
            about_tab.build(context, model)
    return page
