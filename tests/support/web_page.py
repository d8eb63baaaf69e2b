"""The web page as people have it: its server in a process of its own, without a network, and a browser without a window."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from musicgen_lite.io import audio
from musicgen_lite.sources import ffmpeg

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PROMPT = "A fast techno beat with a synth lead."
LOOPBACK = Path(__file__).parent / "loopback"  # has a process reach its own machine alone
# Seconds from now to the first sound of the streaming player, by its own clock: what it has played is taken off.
SOUND = """() => { const begin = performance.now(); window.sound = new Promise(found => { const timer = setInterval(() => {
  for (const player of document.querySelectorAll('audio')) if (player.currentTime > 0.02) {
    clearInterval(timer); found((performance.now() - begin) / 1000 - player.currentTime) } }, 5) }) }"""


@dataclass(frozen=True)
class Served:
    """A page that is served: its address, with a slash at the end, its process, and its folder of temporary files."""

    address: str
    pid: int
    folder: Path

    @property
    def memory(self) -> float:
        """Resident memory in MB."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextlib.contextmanager
def served(folder: Path, *options: object, env: dict[str, str] | None = None) -> Iterator[Served]:
    """The page, with whatever port is free; its process must ask nothing of the network, end by Ctrl-C and leave no file."""
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "musicgen_lite", "app", "--port", "0", *map(str, options)]
    log, refused = folder / "server.log", folder / "refused.log"
    environment = {
        **os.environ,
        **(env or {}),
        **without_network(refused),
        "TMPDIR": str(folder),
        "PYTHONUNBUFFERED": "1",
    }
    with log.open("w") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT,
            # A shell that starts this in the background would have it ignore Ctrl-C.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )  # fmt: skip
    try:
        yield Served(_address(process, log), process.pid, folder)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=120)
    said = log.read_text()
    # Gradio prints what it refuses by itself, such as a model that the page does not offer, and who hangs up.
    printed = said.count("\ngradio.exceptions.Error:") + said.count("\nstarlette.requests.ClientDisconnect")
    assert said.count("Traceback") == printed, said[-4000:]
    assert not list(folder.glob("musicgen-lite-app-*"))
    assert not refused.exists(), refused.read_text()


def without_network(refused: Path) -> dict[str, str]:
    """The environment of a Python process that reaches its own machine alone; what else it asks for is written to a file."""
    return {"PYTHONPATH": str(LOOPBACK), "REFUSED_ADDRESSES": str(refused)}


def _address(process: "subprocess.Popen[bytes]", log: Path) -> str:
    """Where the page is, once it says so."""
    while process.poll() is None:
        if found := re.search(r"MusicGen-Lite: (http://\S+)", log.read_text()):
            return found[1]
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.1)
    raise AssertionError(log.read_text())


@contextlib.contextmanager
def browser() -> Iterator[Any]:
    """A Chromium of playwright's, whose pages may play without a click. ImportError without playwright."""
    from playwright.sync_api import sync_playwright

    arguments = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
    with sync_playwright() as play:
        found = play.chromium.launch(executable_path=CHROMIUM, args=arguments)
        try:
            yield found
        finally:
            found.close()


def fill(page: Any, **fields: object) -> None:
    """Type into the fields of the first tab, by their labels."""
    for label, value in fields.items():
        page.get_by_label(label).first.fill(str(value))


def create_event(address: str) -> int:
    """Gradio's number of the event that makes a piece."""
    events = httpx.get(f"{address}config").json()["dependencies"]
    return int(next(one["id"] for one in events if one["api_name"] == "create"))


def join(address: str, event: int, arguments: list[Any], visitor: str) -> httpx.Response:
    """A visitor's request for that event, put into the queue as the page does it."""
    body = {"data": arguments, "fn_index": event, "session_hash": visitor}
    return httpx.post(f"{address}gradio_api/queue/join", json=body, timeout=120)


def waiting(address: str) -> int:
    """How many requests wait."""
    return int(httpx.get(f"{address}gradio_api/queue/status", timeout=60).json()["queue_size"])


@contextlib.contextmanager
def others(page: Served, arguments: list[Any], number: int) -> Iterator[None]:
    """So many other visitors who asked for the same, of whom all but one wait; at the end they want it no more."""
    visitors = [f"other-{each}" for each in range(number)]
    create, joined = create_event(page.address), {}
    try:
        for visitor in visitors:
            joined[visitor] = join(page.address, create, arguments, visitor).raise_for_status().json()["event_id"]
            while waiting(page.address) >= len(joined):  # until the first is at work
                time.sleep(0.05)
        yield
    finally:
        for visitor, piece in reversed(joined.items()):  # the one at work last
            body = {"event_id": piece, "fn_index": create, "session_hash": visitor}
            httpx.post(f"{page.address}gradio_api/cancel", json=body, timeout=120).raise_for_status()


def streamed(playlist: str, folder: Path) -> tuple[np.ndarray, int]:
    """The samples `[T]` and the rate of the sound that a browser was streamed, by the address of its playlist."""
    ffmpeg.cut(playlist, folder / "streamed.wav", 0.0, None)
    return audio.decode((folder / "streamed.wav").read_bytes())
