"""The page's server: on this machine alone by default, and asking nothing of the network."""

import os
import socket
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from musicgen_lite.app.guard import MAX_UPLOAD_MB, Guard
from musicgen_lite.errors import UserError, require

if TYPE_CHECKING:  # torch takes seconds to load
    from musicgen_lite.app.models import Shelf
    from musicgen_lite.params import TrackingParams

LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Options:
    """Where the page is served. auth: `user:password`, or empty; waiting: requests that may wait for the core."""

    host: str = LOOPBACK[0]
    port: int = 7860
    auth: str = ""
    root_path: str = ""
    waiting: int = 16
    threads: int = 0

    def check(self) -> None:
        """UserError for what no server can be started with."""
        if not 0 <= self.port < 2**16:
            raise UserError(f"port: found {self.port}; 0 (any free one) to 65535 are allowed")
        if self.auth and not all(self.auth.partition(":")[::2]):
            raise UserError("auth: give a user and a password as user:password")
        if self.waiting < 1:
            raise UserError(f"waiting: found {self.waiting}; 1 or more are allowed")
        if self.threads < 0:
            raise UserError(f"threads: found {self.threads}; 0 (all cores) or more are allowed")


def serve(
    models: Mapping[str, str], options: Options, tracking: "TrackingParams", root: Path, trusted: Sequence[str] = ()
) -> None:
    """Show the page until Ctrl-C; `models` as the `Shelf` takes them. UserError where the port is in use, or Gradio is not installed."""
    options.check()
    with tempfile.TemporaryDirectory(prefix="musicgen-lite-app-") as folder:
        _quiet(folder)
        page = start(models, options, tracking, root, Path(folder), trusted)
        if options.host not in LOOPBACK and not options.auth:
            print(
                "Everybody who reaches this address can use the page; --auth user:password asks for a password.",
                file=sys.stderr,
            )
        print(f"MusicGen-Lite: {page.local_url}  (Ctrl-C ends it)", flush=True)
        try:
            page.block_thread()
        finally:
            page.close(verbose=False)


def _quiet(folder: str) -> None:
    """Gradio reads these as it is imported: no analytics, and files in a folder that is removed in the end."""
    os.environ.update(
        GRADIO_TEMP_DIR=folder,
        GRADIO_ANALYTICS_ENABLED="False",
        HF_HUB_DISABLE_TELEMETRY="1",
        GRADIO_ALLOW_FLAGGING="never",
    )


def start(
    models: Mapping[str, str],
    options: Options,
    tracking: "TrackingParams",
    root: Path,
    folder: Path,
    trusted: Sequence[str] = (),
) -> Any:
    """The started page, a `gradio.Blocks` that serves from threads of its own."""
    require("gradio", extra="app", purpose="the web page")
    from starlette.middleware import Middleware

    from musicgen_lite.app import live, markup
    from musicgen_lite.app.context import Context, gr
    from musicgen_lite.app.models import Shelf
    from musicgen_lite.app.page import CSS, build
    from musicgen_lite.app.studio import Studio

    live.install()
    markup.install()
    shelf = Shelf(models, root, trusted)
    studio = Studio(shelf, options.threads or os.cpu_count() or 1)
    page = build(Context(shelf, studio, tracking, root, folder))
    page.queue(max_size=options.waiting, default_concurrency_limit=4, api_open=False)
    sans, mono = ["system-ui", "sans-serif"], ["ui-monospace", "monospace"]
    try:
        page.launch(
            server_name=options.host, server_port=options.port or _free_port(options.host), root_path=options.root_path or None,
            auth=(options.auth.partition(":")[0], options.auth.partition(":")[2]) if options.auth else None,
            prevent_thread_lock=True, quiet=True, share=False, ssr_mode=False, max_file_size=f"{MAX_UPLOAD_MB}mb", inbrowser=False,
            allowed_paths=[str(folder)], css=CSS, theme=gr.themes.Base(font=sans, font_mono=mono), enable_monitoring=False,
            app_kwargs={"middleware": [Middleware(Guard)]}, pwa=False, mcp_server=False,
        )  # fmt: skip
    except OSError as error:
        raise UserError(
            f"port {options.port} of {options.host}: no server can be started there ({str(error).partition('. ')[0]}); name "
            "another with --port, unless the page runs there already, or an address of this machine with --host"
        ) from error
    # Once the page stands: a process that ends while torch is being imported aborts.
    threading.Thread(target=_prepare, args=(shelf, tracking, root), name="prepare", daemon=True).start()
    return page


def _prepare(shelf: "Shelf", tracking: "TrackingParams", root: Path) -> None:
    """What nobody should wait for: the models are loaded, and those of the registry offered."""
    shelf.warm()
    try:
        shelf.offer_registered(tracking, root)
    except UserError as error:
        print(f"warning: the page offers no registered models: {error}", file=sys.stderr, flush=True)


def _free_port(host: str) -> int:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
