"""What the tabs share: the context that they work in, and how errors are told."""

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


@dataclass(frozen=True)
class Context:
    """What all tabs work with. folder: of the files that the page shows; root: of the repository, whose runs are shown."""

    shelf: Shelf
    studio: Studio
    tracking: TrackingParams
    root: Path
    folder: Path


@contextlib.contextmanager
def told(seconds: float | None = None) -> Iterator[None]:
    """An error that a user can fix is shown on the page, for so long or until it is closed, and the page goes on."""
    try:
        yield
    except UserError as error:
        raise gr.Error(str(error), title="This cannot be made", duration=seconds, print_exception=False) from error


def session_of(request: "gr.Request") -> str:
    return str(request.session_hash)


def model_choice(context: Context, label: str = "Model", number: int = 0, **options: Any) -> "gr.Dropdown":
    """A choice among the models, the one of that number chosen, or the last."""
    names = context.shelf.names
    value = names[min(number, len(names) - 1)] if names else None
    # The shelf refuses what it does not have, in words, and what it has may have come since the page was built.
    return gr.Dropdown(names, value=value, label=label, allow_custom_value=True, **options)
