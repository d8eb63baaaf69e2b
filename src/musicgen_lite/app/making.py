"""The buttons that have something made, and that stop it. A press has an effect that is seen, whatever else is going on.

Gradio drops a press while an earlier one is at work, and sends the form as it is while a clip is still being uploaded. So the browser itself
turns the button off as it is pressed, waits for uploads, and turns it on again once the server has told the end.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from musicgen_lite.app.context import CORE, Context, gr, session_of, told
from musicgen_lite.errors import UserError

WAITS, UPLOADS = "Waiting for its turn…", "Waiting for the clip that is being uploaded…"
FULL = "Not made: too many wait already. Press the button again in a while."
STOPPED = "Stopped."
TOLD_S = 10  # of an error, which would cover what is made next

ON, OFF = (json.dumps({"__type__": "update", "interactive": state}) for state in (True, False))
UPLOADING = "document.querySelector('.uploading')"  # Gradio's words beside the bar
PRESSED = f"() => [{OFF}, {UPLOADING} ? '{UPLOADS}' : '{WAITS}']"
UPLOADED = (
    f"async () => {{ while ({UPLOADING}) await new Promise(over => setTimeout(over, 50)); return [{ON}, '{WAITS}'] }}"
)
ENDED = f"() => [{ON}, {OFF}]"
NOT_MADE = f"said => [{ON}, {OFF}, said === '{WAITS}' ? '{FULL}' : said]"


def stop_button(**options: Any) -> "gr.Button":
    """A button that can be pressed while something is made."""
    return gr.Button("Stop", interactive=False, **options)


def makes(
    context: Context,
    buttons: tuple["gr.Button", "gr.Button"],
    status: "gr.Markdown",
    make: Callable[..., Iterator[Sequence[Any]]],
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    *,
    cancel_name: str = "",
    **options: Any,
) -> None:
    """Have the first button call `make` when the core is free, and the second stop it, or have it wait no more.

    make: of Gradio's request and the inputs; gives the outputs after each step. UserError is told, and stands in the status after that.
    cancel_name: under which programs find the second, if they do; options: of Gradio's event that calls `make`.
    """
    go, stop = buttons

    def attempt(request: gr.Request, *values: Any) -> Iterator[Sequence[Any]]:
        with told(TOLD_S):
            try:
                yield from make(request, *values)
            except UserError as error:
                yield [f"Not made: {error}" if output is status else gr.skip() for output in outputs]
                raise

    def cancel(request: gr.Request) -> str:
        context.studio.stop(session_of(request))
        return STOPPED

    go.click(None, None, [go, status], js=PRESSED, api_visibility="private")
    go.click(None, None, [stop, status], js=UPLOADED, api_visibility="private")
    made = go.click(attempt, [*inputs], [*outputs], concurrency_limit=1, concurrency_id=CORE, **options)
    made.success(None, None, [go, stop], js=ENDED, api_visibility="private")
    made.failure(None, status, [go, stop, status], js=NOT_MADE, api_visibility="private")
    stop.click(
        cancel, None, status, queue=False, cancels=made, show_progress="hidden",
        api_name=cancel_name, api_visibility="public" if cancel_name else "private",
    )  # fmt: skip
